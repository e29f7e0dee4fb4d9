//! `GET /console/administration/workspaces`: one page of the workspaces of all users, and the forms that stop and delete one.
//! An administrator acts in the name of the owner, and the audit event names both.

use crate::{
    Pages,
    administration::{
        access::required,
        query,
        view::{DeleteOwned, OwnedList, OwnerOfCard},
    },
    error_page::ErrorPage,
    forms::{Action, Form, Query},
    navigation::NavigationPage,
    page, see_other, text,
    user_session::UserSession,
    workspaces::{WorkspaceCard, WorkspaceChange, failed},
};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use portcullis_telemetry::audit::{Event, RequestContext};
use portcullis_workspaces::{Error, Owner, Workspace, Workspaces, check_name};
use std::sync::Arc;

/// How many workspaces a page has.
const PAGE_SIZE: usize = 50;

/// The page, below the issuer's path.
const PATH: &str = "/console/administration/workspaces";

/// See the module.
pub(super) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, list(&pages, &headers, query.field("cursor")).await)
}

async fn list(pages: &Pages, headers: &HeaderMap, cursor: Option<&str>) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else { return pages.sign_in_for(PATH, now) };
    pages.require_administrator(&user)?;
    let backend = pages.workspaces_for("list_workspaces")?;
    let found = backend.list_all(cursor, PAGE_SIZE).await.map_err(|error| refused(pages, error))?;
    let card = |workspace: Workspace| {
        let card = WorkspaceCard::new(&workspace, &user, now);
        let owner = OwnerOfCard {
            name: text::name(&workspace.owner, &workspace.owner_id),
            query: query(&[("owner", workspace.owner_id.as_str()), ("workspace", workspace.id.as_str())]),
            id: workspace.owner_id,
        };
        (card, owner)
    };
    let can = |change: WorkspaceChange| pages.workspaces_for(change.tool()).is_ok();
    page(
        StatusCode::OK,
        &OwnedList {
            frame: &pages.frame,
            navigation: pages.navigation_below(&user, NavigationPage::Administration)?,
            workspaces: found.workspaces.into_iter().map(card).collect(),
            first: cursor.is_none(),
            next: found.next_cursor.map(|cursor| query(&[("cursor", cursor.as_str())])),
            can_stop: can(WorkspaceChange::Stop),
            can_delete: can(WorkspaceChange::Delete),
            csrf_token: pages.csrf_token(Action::Administer, &user.session)?,
        },
    )
}

/// `POST /console/administration/workspaces/stop`.
pub(super) async fn stop(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, change_owned(&pages, &from, &headers, WorkspaceChange::Stop, &form).await)
}

/// `POST /console/administration/workspaces/delete`.
pub(super) async fn delete(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    pages.answer(&from, change_owned(&pages, &from, &headers, WorkspaceChange::Delete, &form).await)
}

/// The audit event of one change, emitted at its end. A change whose browser disconnected is `cancelled`.
struct AdministrationTrail<'a> {
    from: &'a RequestContext,
    administrator: &'a UserSession,
    owner: &'a Owner,
    change: WorkspaceChange,
    /// A value that is not a valid name is not recorded, as in calls of tools.
    workspace: Option<&'a str>,
    outcome: &'static str,
}

impl Drop for AdministrationTrail<'_> {
    fn drop(&mut self) {
        let Self { from, administrator, owner, change, workspace, outcome } = self;
        let tool = change.tool();
        let (administrator, user, workspace) = (administrator.user.id.as_str(), owner.id.as_str(), *workspace);
        Event::AdministrationWorkspaceChanged { from, administrator, user, tool, workspace, outcome }.emit();
    }
}

async fn change_owned(
    pages: &Pages,
    from: &RequestContext,
    headers: &HeaderMap,
    change: WorkspaceChange,
    form: &Form,
) -> Result<Response, ErrorPage> {
    let administrator = pages.administrator_of(form, headers, pages.clock.now())?;
    let backend = pages.workspaces_for(change.tool())?;
    let (owner, workspace) = named(form)?;
    let mut trail = AdministrationTrail {
        from,
        administrator: &administrator,
        owner: &owner,
        change,
        workspace: check_name(workspace).is_ok().then_some(workspace),
        outcome: "cancelled",
    };
    let changed = async {
        owned(&**backend, &owner, workspace).await?;
        match change {
            WorkspaceChange::Stop => backend.stop(&owner, workspace).await,
            _ => backend.delete(&owner, workspace).await,
        }
    };
    let changed = changed.await;
    trail.outcome = changed.as_ref().map_or_else(Error::outcome, |_| "ok");
    changed.map_err(|error| refused(pages, error))?;
    see_other(&format!("{}{PATH}", pages.base()))
}

/// `GET /console/administration/workspaces/delete`: asks before a deletion.
pub(super) async fn confirm(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, ask(&pages, &headers, &query).await)
}

async fn ask(pages: &Pages, headers: &HeaderMap, query: &Form) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(administrator) = pages.user_session(headers, now) else { return pages.sign_in_for(PATH, now) };
    pages.require_administrator(&administrator)?;
    let backend = pages.workspaces_for(WorkspaceChange::Delete.tool())?;
    let (owner, workspace) = named(query)?;
    let found = owned(&**backend, &owner, workspace).await.map_err(|error| refused(pages, error))?;
    page(
        StatusCode::OK,
        &DeleteOwned {
            frame: &pages.frame,
            navigation: pages.navigation_below(&administrator, NavigationPage::Administration)?,
            workspace: WorkspaceCard::new(&found, &administrator, now),
            owner: text::name(&found.owner, &owner.id),
            owner_id: &owner.id,
            csrf_token: pages.csrf_token(Action::Administer, &administrator.session)?,
        },
    )
}

/// A workspace of this owner. One that is only shared with the owner does not count, so that the audit names the right user.
async fn owned(backend: &dyn Workspaces, owner: &Owner, wanted: &str) -> Result<Workspace, Error> {
    let found = backend.get(owner, wanted).await?;
    if found.owner_id == owner.id {
        Ok(found)
    } else {
        Err(Error::UnknownWorkspace { wanted: wanted.to_owned(), existing: Vec::new() })
    }
}

/// The owner and the id of the workspace that a form or a query names.
fn named(form: &Form) -> Result<(Owner, &str), ErrorPage> {
    let (owner, workspace) = (required(form, "owner")?, required(form, "workspace")?);
    Ok((Owner { id: owner.to_owned(), name: String::new() }, workspace))
}

/// The error page for a failed operation, with the way back to the list of all workspaces.
fn refused(pages: &Pages, error: Error) -> ErrorPage {
    let unknown = matches!(error, Error::UnknownWorkspace { .. });
    let error_page = failed(pages.base(), error).link(format!("{}{PATH}", pages.base()), "All workspaces");
    if unknown {
        let happened = "The user has no such workspace. It may have been deleted.";
        return ErrorPage { happened: happened.into(), todo: None, ..error_page };
    }
    error_page
}
