//! The forms that start, stop, restart and delete a workspace. A start is not awaited: the page of the workspace shows how
//! far it is.

use crate::{
    Pages,
    error_page::ErrorPage,
    forms::{Action, Form},
    navigation::NavigationPage,
    page, paths, see_other,
    user_session::UserSession,
    workspaces::{
        error::failed,
        view::{self, WorkspaceForms},
    },
};
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
    routing::{self, MethodRouter},
};
use http::{HeaderMap, StatusCode};
use portcullis_telemetry::audit::{Event, RequestContext};
use portcullis_workspaces::{Error, check_name};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WorkspaceChange {
    Start,
    Stop,
    Restart,
    Delete,
}

impl WorkspaceChange {
    /// The tool that does the same.
    pub(crate) const fn tool(self) -> &'static str {
        match self {
            Self::Start => "start_workspace",
            Self::Stop => "stop_workspace",
            Self::Restart => "restart_workspace",
            Self::Delete => "delete_workspace",
        }
    }
}

impl Pages {
    /// The CSRF tokens of the forms of workspaces.
    pub(super) fn workspace_forms(&self, user: &UserSession) -> Result<WorkspaceForms, ErrorPage> {
        let token = |change: WorkspaceChange| {
            let served = self.workspaces_for(change.tool()).is_ok();
            served.then(|| self.csrf_token(Action::ChangeWorkspace(change), &user.session)).transpose()
        };
        Ok(WorkspaceForms {
            start: token(WorkspaceChange::Start)?,
            stop: token(WorkspaceChange::Stop)?,
            restart: token(WorkspaceChange::Restart)?,
            delete: self.workspaces_for(WorkspaceChange::Delete.tool()).is_ok(),
        })
    }
}

/// The audit event of one change, emitted at its end. A change whose browser disconnected is `cancelled`.
struct ChangeTrail<'a> {
    from: &'a RequestContext,
    change: WorkspaceChange,
    /// A value that is not a valid name is not recorded, as in calls of tools.
    workspace: Option<&'a str>,
    user: &'a str,
    outcome: &'static str,
}

impl Drop for ChangeTrail<'_> {
    fn drop(&mut self) {
        Event::WorkspaceChanged {
            from: self.from,
            tool: self.change.tool(),
            workspace: self.workspace,
            outcome: self.outcome,
            user: self.user,
        }
        .emit();
    }
}

/// `POST /console/workspaces/{workspace}/CHANGE`.
pub(super) fn post(change: WorkspaceChange) -> MethodRouter<Arc<Pages>> {
    routing::post(
        async move |State(pages): State<Arc<Pages>>,
                    Extension(from): Extension<RequestContext>,
                    Path(workspace): Path<String>,
                    headers: HeaderMap,
                    form: Form| {
            pages.answer(&from, apply(&pages, change, &from, &workspace, &headers, &form).await)
        },
    )
}

async fn apply(
    pages: &Pages,
    change: WorkspaceChange,
    from: &RequestContext,
    workspace: &str,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let user = pages.user_of_form(form, Action::ChangeWorkspace(change), headers, pages.clock.now())?;
    let backend = pages.workspaces_for(change.tool())?;
    let mut trail = ChangeTrail {
        from,
        change,
        workspace: check_name(workspace).is_ok().then_some(workspace),
        user: &user.user.id,
        outcome: "cancelled",
    };
    let owner = user.owner();
    let changed = match change {
        WorkspaceChange::Start => backend.start(&owner, workspace, None).await,
        WorkspaceChange::Stop => backend.stop(&owner, workspace).await,
        WorkspaceChange::Restart => backend.restart(&owner, workspace, None).await,
        WorkspaceChange::Delete => backend.delete(&owner, workspace).await,
    };
    trail.outcome = changed.as_ref().map_or_else(Error::outcome, |_| "ok");
    let changed = changed.map_err(|error| failed(pages.base(), error))?;
    let list = format!("{}{}", pages.base(), paths::WORKSPACES);
    let has_page = change != WorkspaceChange::Delete && pages.workspaces_for("get_workspace").is_ok();
    see_other(&if has_page { format!("{list}/{}", changed.id) } else { list })
}

/// `GET /console/workspaces/{workspace}/delete`: asks before a deletion.
pub(super) async fn confirm(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, ask(&pages, &workspace, &headers).await)
}

async fn ask(pages: &Pages, workspace: &str, headers: &HeaderMap) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        return pages.sign_in_for(paths::WORKSPACES, now);
    };
    let backend = pages.workspaces_for(WorkspaceChange::Delete.tool())?;
    let found = backend.get(&user.owner(), workspace).await.map_err(|error| failed(pages.base(), error))?;
    page(
        StatusCode::OK,
        &view::DeleteWorkspace {
            frame: &pages.frame,
            navigation: pages.navigation_below(&user, NavigationPage::Workspaces)?,
            workspace: view::WorkspaceCard::new(&found, &user, now),
            csrf_token: pages.csrf_token(Action::ChangeWorkspace(WorkspaceChange::Delete), &user.session)?,
        },
    )
}
