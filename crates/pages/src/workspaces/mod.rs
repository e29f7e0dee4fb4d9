//! The pages of the user's workspaces: the list, one workspace, its activity, and the forms that change one. They do for the user what
//! the tools do for the user's agents, with the same backend and the same owner.

mod activity;
mod activity_view;
mod change;
mod details;
mod error;
mod list;
mod view;

pub(crate) use change::WorkspaceChange;
pub(crate) use error::failed;
pub(crate) use view::WorkspaceCard;

use crate::Pages;
use axum::{Router, routing::get};
use std::sync::Arc;

/// The routes, below `path`.
pub(crate) fn router(path: &str) -> Router<Arc<Pages>> {
    Router::new()
        .without_v07_checks()
        .route(path, get(list::get))
        .route(&format!("{path}/{{workspace}}"), get(details::get))
        .route(&format!("{path}/{{workspace}}/activity"), get(activity::get))
        .route(
            &format!("{path}/{{workspace}}/delete"),
            get(change::confirm).merge(change::post(WorkspaceChange::Delete)),
        )
        .route(&format!("{path}/{{workspace}}/start"), change::post(WorkspaceChange::Start))
        .route(&format!("{path}/{{workspace}}/stop"), change::post(WorkspaceChange::Stop))
        .route(&format!("{path}/{{workspace}}/restart"), change::post(WorkspaceChange::Restart))
}
