//! `search` and `fetch`, in the form that ChatGPT's research mode calls (<https://platform.openai.com/docs/mcp>):
//! `search` takes one text, and `fetch` the id of a document. They cover workspaces, templates and the files of running
//! workspaces.
//!
//! An id is `workspace:NAME`, `template:NAME` or `file:WORKSPACE/PATH`, and identifies a search result. Results that
//! the token's scopes or the endpoint's lists of tools exclude are neither found nor fetched.

mod fetch;
mod reach;
mod search;
mod words;

pub(super) use self::{fetch::Fetch, reach::Reach, search::Search};
