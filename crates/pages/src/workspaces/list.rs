//! `GET /console/workspaces`: one page of the user's workspaces.

use crate::{
    Pages,
    error_page::ErrorPage,
    forms::Query,
    navigation::NavigationPage,
    page, paths,
    workspaces::{error::failed, view},
};
use axum::{Extension, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use portcullis_telemetry::audit::RequestContext;
use portcullis_workspaces::WorkspaceFilter;
use std::sync::Arc;

/// How many workspaces a page has.
const PAGE_SIZE: u32 = 20;

/// See the module.
pub(crate) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, list(&pages, &headers, query.field("cursor")).await)
}

async fn list(pages: &Pages, headers: &HeaderMap, cursor: Option<&str>) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        return pages.sign_in_for(paths::WORKSPACES, now);
    };
    let backend = pages.workspaces_for("list_workspaces")?;
    let filter =
        WorkspaceFilter { limit: Some(PAGE_SIZE), cursor: cursor.map(ToOwned::to_owned), ..WorkspaceFilter::default() };
    let found = backend.list(&user.owner(), filter).await.map_err(|error| failed(pages.base(), error))?;
    page(
        StatusCode::OK,
        &view::WorkspaceList {
            frame: &pages.frame,
            navigation: pages.navigation(&user, NavigationPage::Workspaces)?,
            workspaces: found.workspaces.iter().map(|found| view::WorkspaceCard::new(found, &user, now)).collect(),
            first: cursor.is_none(),
            next: found.next_cursor,
            has_page: pages.workspaces_for("get_workspace").is_ok(),
            forms: pages.workspace_forms(&user)?,
        },
    )
}
