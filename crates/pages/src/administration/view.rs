//! The data of the templates of administration.

use crate::{
    navigation::NavigationBar,
    view::{ActiveGrant, Frame},
    workspaces::WorkspaceCard,
};
use askama::Template;

/// One user.
#[derive(Clone, Debug)]
pub(super) struct UserCard {
    pub id: String,
    pub name: String,
    /// The query that names the user.
    pub query: String,
    pub agents: Vec<ActiveGrant>,
    /// How many agents are not shown.
    pub more: usize,
}

/// The list of users, or one user.
#[derive(Template)]
#[template(path = "administration.html")]
pub(super) struct UserList<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub users: Vec<UserCard>,
    /// The id that was asked for.
    pub wanted: Option<&'a str>,
    /// Whether this is the first page of all users.
    pub first: bool,
    /// The query of the next page.
    pub next: Option<String>,
    pub has_workspaces: bool,
    pub csrf_token: String,
}

/// The page that asks before the access of a user ends.
#[derive(Template)]
#[template(path = "end_user.html")]
pub(super) struct EndUser<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub id: &'a str,
    pub name: String,
    /// Whether administrators would end their own access.
    pub is_self: bool,
    pub agents: usize,
    /// The query of the page of the user.
    pub back: String,
    pub csrf_token: String,
}

/// The owner of a workspace.
#[derive(Clone, Debug)]
pub(super) struct OwnerOfCard {
    pub id: String,
    pub name: String,
    /// The query that names the workspace.
    pub query: String,
}

/// The list of all workspaces.
#[derive(Template)]
#[template(path = "all_workspaces.html")]
pub(super) struct OwnedList<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspaces: Vec<(WorkspaceCard, OwnerOfCard)>,
    /// Whether this is the first page.
    pub first: bool,
    /// The query of the next page.
    pub next: Option<String>,
    pub can_stop: bool,
    pub can_delete: bool,
    pub csrf_token: String,
}

/// The page that asks before a deletion.
#[derive(Template)]
#[template(path = "delete_owned.html")]
pub(super) struct DeleteOwned<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspace: WorkspaceCard,
    pub owner: String,
    pub owner_id: &'a str,
    pub csrf_token: String,
}
