//! The pages, whole: the real server on a real socket, and browsers that are driven by hand, so that each header and
//! each field can be wrong.

use crate::{clock, form_browser as browser, mounted};

mod activity;
mod agents;
mod console;
mod flow;
mod forgery;
mod hostile;
mod html;
mod providers;
mod stage;
