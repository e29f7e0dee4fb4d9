//! The tools as REST and MCP call them, on the local backend: two users who must not meet, and the forms that others
//! prescribe.

use crate::probing;

mod converters;
mod isolation;
mod research;
mod stage;
