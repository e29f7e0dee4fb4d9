//! Error pages for failed operations on workspaces. The messages of [`Error`] address agents and name tools, so most of them
//! are not shown.

use crate::{
    error_page::{ErrorPage, Link},
    paths, text,
};
use http::StatusCode;
use portcullis_core::report::chain;
use portcullis_workspaces::Error;
use std::borrow::Cow;

/// The error page for a failed operation.
pub(crate) fn failed(base: &str, error: Error) -> ErrorPage {
    let cause = Some(chain(&error).into());
    let (status, reason, title, happened, todo): (_, _, _, Cow<'static, str>, &'static str) = match error {
        Error::UnknownWorkspace { .. } => (
            StatusCode::NOT_FOUND,
            "unknown_workspace",
            "There is no such workspace",
            "You have no workspace of this name. It may have been deleted.".into(),
            "Choose one of your workspaces.",
        ),
        Error::InvalidArgument { .. } => (
            StatusCode::BAD_REQUEST,
            "invalid_page",
            "There is no such page",
            "The address of this page of the list is not valid.".into(),
            "Begin with the first page.",
        ),
        Error::BeingDeleted { workspace } => (
            StatusCode::CONFLICT,
            "being_deleted",
            "This workspace is being deleted",
            format!("The workspace {workspace} is being deleted, so nothing was done.").into(),
            "It disappears from the list in a few seconds.",
        ),
        Error::NotPermitted { workspace, owner, verb } => (
            StatusCode::FORBIDDEN,
            "not_permitted",
            "You may not do this",
            format!(
                "The workspace {workspace} belongs to {}, and you may not {verb} it.",
                text::name(&owner, "another user")
            )
            .into(),
            "Ask its owner.",
        ),
        Error::Refused { doing, why } => (
            StatusCode::CONFLICT,
            "refused",
            "The cluster refused this",
            format!("Portcullis could not {doing}: {}", text::sentence(&why)).into(),
            "Ask the administrator of this endpoint if you do not know why.",
        ),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "workspaces_unavailable",
            "This did not work",
            "The workspace cannot be reached or changed at the moment.".into(),
            "Try again in a moment. If this persists, tell the administrator of this endpoint.",
        ),
    };
    let link = Link { href: format!("{base}{}", paths::WORKSPACES), label: "Your workspaces".into() };
    ErrorPage { cause, link: Some(Box::new(link)), ..ErrorPage::new(status, reason, title, happened).todo(todo) }
}
