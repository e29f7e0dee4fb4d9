//! The workspaces behind the pages. A page does for a user only what the endpoint's tools do, so that `spec.tools` limits
//! both.

use crate::{Pages, error_page::ErrorPage};
use http::StatusCode;
use portcullis_workspaces::Workspaces;
use std::{collections::BTreeSet, sync::Arc};

/// The workspaces, and the tools that the endpoint serves.
pub struct ServedWorkspaces {
    /// The backend.
    pub backend: Arc<dyn Workspaces>,
    /// The names of the served tools.
    pub tools: BTreeSet<&'static str>,
}

impl Pages {
    /// The workspaces, for what the tool `tool` does. The error page says that the endpoint does not do it.
    pub(crate) fn workspaces_for(&self, tool: &str) -> Result<&Arc<dyn Workspaces>, ErrorPage> {
        let served = self.workspaces.as_ref().filter(|served| served.tools.contains(tool));
        served.map(|served| &served.backend).ok_or_else(|| {
            let happened = format!(
                "This endpoint does not serve the tool {tool}, so its pages do not do it either. Nothing was done."
            );
            ErrorPage::new(StatusCode::FORBIDDEN, "not_served", "This is switched off here", happened).todo(
                "Ask the administrator of this endpoint: spec.tools of the McpEndpoint decides which tools it has.",
            )
        })
    }
}
