//! Pages of workspaces: the filter of a list, and the position of the next page.

use crate::{Error, Status, Workspace, WorkspaceFilter, WorkspacePage};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// A validated filter. Pages are sorted by name, then by id: workspaces of several users can have the same name.
pub(super) struct Pager {
    query: Option<String>,
    status: Option<Status>,
    template: Option<String>,
    limit: usize,
    after: Option<(String, String)>,
}

impl Pager {
    pub(crate) fn new(filter: WorkspaceFilter) -> Result<Self, Error> {
        let limit = filter.limit.unwrap_or(WorkspaceFilter::DEFAULT_LIMIT);
        if !(1..=WorkspaceFilter::MAX_LIMIT).contains(&limit) {
            let problem = format!("{limit} is out of range; give 1 to {}", WorkspaceFilter::MAX_LIMIT);
            return Err(Error::InvalidArgument { argument: "limit", problem });
        }
        Ok(Self {
            query: filter.query,
            status: filter.status,
            template: filter.template,
            limit: limit as usize,
            after: filter.cursor.as_deref().map(decode).transpose()?,
        })
    }

    /// The number of matching workspaces that determine the page and whether another one follows.
    pub(crate) fn needed(&self) -> usize {
        self.limit + 1
    }

    /// Whether the workspace matches the filter and is on this page or a later one.
    pub(crate) fn matches(&self, workspace: &Workspace) -> bool {
        self.query.as_ref().is_none_or(|query| workspace.name.contains(query.as_str()))
            && self.status.is_none_or(|status| workspace.status == status)
            && self.template.as_ref().is_none_or(|template| workspace.template == *template)
            && self.after.as_ref().is_none_or(|(name, id)| (&workspace.name, &workspace.id) > (name, id))
    }

    /// Builds the page from the first [`Self::needed`] matching workspaces or more, in order.
    pub(crate) fn page(&self, mut workspaces: Vec<Workspace>) -> WorkspacePage {
        let more = workspaces.len() > self.limit;
        workspaces.truncate(self.limit);
        let next_cursor = workspaces.last().filter(|_| more).map(encode);
        WorkspacePage { workspaces, next_cursor }
    }
}

/// Names and ids do not contain a slash.
fn encode(last: &Workspace) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}/{}", last.name, last.id))
}

fn decode(cursor: &str) -> Result<(String, String), Error> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .as_deref()
        .and_then(|text| text.split_once('/'))
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .ok_or_else(|| {
            let problem = "pass the next_cursor of the previous page, unchanged, or omit it".to_owned();
            Error::InvalidArgument { argument: "cursor", problem }
        })
}
