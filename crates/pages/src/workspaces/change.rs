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
    body::Body,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use portcullis_telemetry::audit::{Event, RequestContext};
use portcullis_workspaces::{Error, check_name};
use std::sync::Arc;

impl Action {
    /// The tool that does the same.
    const fn tool(self) -> &'static str {
        match self {
            Self::StartWorkspace => "start_workspace",
            Self::StopWorkspace => "stop_workspace",
            Self::RestartWorkspace => "restart_workspace",
            Self::DeleteWorkspace => "delete_workspace",
            Self::SignIn | Self::Consent | Self::Revoke | Self::SignOut | Self::SignOutEverywhere => "",
        }
    }
}

impl Pages {
    /// The CSRF tokens of the forms of workspaces.
    pub(super) fn workspace_forms(&self, user: &UserSession) -> Result<WorkspaceForms, ErrorPage> {
        let token = |action: Action| {
            self.workspaces_for(action.tool()).ok().map(|_| self.csrf_token(action, &user.session)).transpose()
        };
        Ok(WorkspaceForms {
            start: token(Action::StartWorkspace)?,
            stop: token(Action::StopWorkspace)?,
            restart: token(Action::RestartWorkspace)?,
            delete: self.workspaces_for(Action::DeleteWorkspace.tool()).is_ok(),
        })
    }
}

/// The audit event of one change, emitted at its end. A change whose browser disconnected is `cancelled`.
struct ChangeTrail<'a> {
    from: &'a RequestContext,
    action: Action,
    /// A value that is not a valid name is not recorded, as in calls of tools.
    workspace: Option<&'a str>,
    user: &'a str,
    outcome: &'static str,
}

impl Drop for ChangeTrail<'_> {
    fn drop(&mut self) {
        let Self { from, action, workspace, user, outcome } = self;
        Event::WorkspaceChanged { from, tool: action.tool(), workspace: *workspace, outcome, user }.emit();
    }
}

/// What arrived with a form.
struct SubmittedForm {
    from: RequestContext,
    workspace: String,
    headers: HeaderMap,
    body: Body,
}

/// `POST /console/workspaces/{workspace}/start`.
pub(super) async fn start(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&pages, Action::StartWorkspace, SubmittedForm { from, workspace, headers, body }).await
}

/// `POST /console/workspaces/{workspace}/stop`.
pub(super) async fn stop(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&pages, Action::StopWorkspace, SubmittedForm { from, workspace, headers, body }).await
}

/// `POST /console/workspaces/{workspace}/restart`.
pub(super) async fn restart(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&pages, Action::RestartWorkspace, SubmittedForm { from, workspace, headers, body }).await
}

/// `POST /console/workspaces/{workspace}/delete`.
pub(super) async fn delete(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&pages, Action::DeleteWorkspace, SubmittedForm { from, workspace, headers, body }).await
}

async fn answer(pages: &Pages, action: Action, submitted: SubmittedForm) -> Response {
    let from = submitted.from;
    pages.answer(&from, change(pages, action, submitted).await)
}

async fn change(pages: &Pages, action: Action, submitted: SubmittedForm) -> Result<Response, ErrorPage> {
    let SubmittedForm { from, workspace, headers, body } = submitted;
    let form = Form::read(&headers, body).await?;
    let now = pages.clock.now();
    let session = pages.session(&headers, now);
    pages.check_form(&form, action, &headers, session.as_ref(), now)?;
    let user = pages.user_session(&headers, now).ok_or_else(|| ErrorPage::signed_out(pages.base()))?;
    let backend = pages.workspaces_for(action.tool())?;
    let mut trail = ChangeTrail {
        from: &from,
        action,
        workspace: check_name(&workspace).is_ok().then_some(&*workspace),
        user: &user.user.id,
        outcome: "cancelled",
    };
    let owner = user.owner();
    let changed = match action {
        Action::StartWorkspace => backend.start(&owner, &workspace, None).await,
        Action::StopWorkspace => backend.stop(&owner, &workspace).await,
        Action::RestartWorkspace => backend.restart(&owner, &workspace, None).await,
        _ => backend.delete(&owner, &workspace).await,
    };
    trail.outcome = changed.as_ref().map_or_else(Error::outcome, |_| "ok");
    let changed = changed.map_err(|error| failed(pages.base(), error))?;
    let list = format!("{}{}", pages.base(), paths::WORKSPACES);
    let has_page = action != Action::DeleteWorkspace && pages.workspaces_for("get_workspace").is_ok();
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
    let backend = pages.workspaces_for(Action::DeleteWorkspace.tool())?;
    let found = backend.get(&user.owner(), workspace).await.map_err(|error| failed(pages.base(), error))?;
    page(
        StatusCode::OK,
        &view::DeleteWorkspace {
            frame: &pages.frame,
            navigation: pages.navigation_below(&user, NavigationPage::Workspaces)?,
            workspace: view::WorkspaceCard::new(&found, &user, now),
            csrf_token: pages.csrf_token(Action::DeleteWorkspace, &user.session)?,
        },
    )
}
