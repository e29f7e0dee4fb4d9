//! The pages, whole: the real server on a real socket, and browsers that are driven by hand, so that each header and
//! each field can be wrong.

use crate::{clock, form_browser as browser, mounted, replaced_agent};

mod activity;
mod administration;
mod agents;
mod console;
mod flow;
mod forgery;
mod hostile;
mod html;
mod providers;
mod sign_out_everywhere;
mod stage;
mod workspaces;
