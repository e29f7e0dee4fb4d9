//! The real server, as the tests of `serve` start it.

use crate::{clock, mounted, replaced_agent};

#[path = "../serve/stage.rs"]
#[expect(dead_code, reason = "made for the tests of serve")]
pub mod stage;
