//! Formats an error with all of its sources.

use std::{error::Error, iter};

/// The error and its sources in one line, separated by `: `.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes: Vec<String> = iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    causes.join(": ")
}
