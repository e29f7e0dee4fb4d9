//! `search` and `fetch`, in the form that ChatGPT's research mode calls (<https://platform.openai.com/docs/mcp>): one
//! text in, and documents by their ids, over workspaces, templates and the files of running workspaces.
//!
//! An id is `workspace:NAME`, `template:NAME` or `file:WORKSPACE/PATH`, and leads back to what was found. What a
//! token's scopes do not reach, and what the endpoint's tools leave out, is neither found nor fetched.

mod fetch;
mod reach;
mod search;
mod words;

pub(super) use self::{fetch::Fetch, reach::Reach, search::Search};
