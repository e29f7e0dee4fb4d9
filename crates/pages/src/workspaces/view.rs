//! The data of the templates of workspaces.

use crate::{
    navigation::NavigationBar,
    text::{self, When},
    user_session::UserSession,
    view::Frame,
};
use askama::Template;
use jiff::Timestamp;
use portcullis_workspaces::{Status, Workspace};

/// One workspace, in the list and on its page.
#[derive(Clone, Debug)]
pub(crate) struct WorkspaceCard {
    /// The path segment of its page.
    pub id: String,
    pub name: String,
    pub template: String,
    pub status: Status,
    /// The status in words.
    pub status_words: &'static str,
    pub problem: Option<String>,
    /// The owner, if it is another user.
    pub owner: Option<String>,
    pub outdated: bool,
    pub created: When,
    pub last_activity: Option<When>,
    pub expires: Option<When>,
}

impl WorkspaceCard {
    pub(crate) fn new(workspace: &Workspace, user: &UserSession, now: Timestamp) -> Self {
        Self {
            id: workspace.id.clone(),
            name: workspace.name.clone(),
            template: text::name(&workspace.template, "none"),
            status: workspace.status,
            status_words: match workspace.status {
                Status::Starting => "Starting",
                Status::Running => "Running",
                Status::Stopping => "Stopping",
                Status::Stopped => "Stopped",
                Status::Failed => "Failed",
            },
            problem: workspace.problem.as_deref().filter(|_| workspace.status != Status::Stopped).map(problem),
            owner: (workspace.owner_id != user.user.id).then(|| text::name(&workspace.owner, "another user")),
            outdated: workspace.outdated,
            created: When::new(workspace.created_at, now),
            last_activity: workspace.last_activity.map(|at| When::new(at, now)),
            expires: workspace.expires_at.map(|at| When::new(at, now)),
        }
    }

    /// Whether the form that starts it makes sense. A failed workspace can be restarted.
    pub(crate) fn can_start(&self) -> bool {
        matches!(self.status, Status::Stopping | Status::Stopped)
    }

    /// Whether it cannot run.
    pub(crate) fn has_failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// Whether its status will change by itself.
    pub(crate) fn is_changing(&self) -> bool {
        matches!(self.status, Status::Starting | Status::Stopping)
    }

    /// Whether the forms that stop and restart it make sense.
    pub(crate) fn can_stop(&self) -> bool {
        matches!(self.status, Status::Starting | Status::Running | Status::Failed)
    }
}

/// The problem of a workspace, without the advice for agents, which names tools.
fn problem(problem: &str) -> String {
    text::sentence(problem.split_once("; call ").map_or(problem, |(problem, _)| problem))
}

/// The CSRF tokens of the forms that change workspaces; `None` if the endpoint does not serve the tool.
#[derive(Clone, Debug)]
pub(super) struct WorkspaceForms {
    pub start: Option<String>,
    pub stop: Option<String>,
    pub restart: Option<String>,
    /// Whether there is the page that asks before a deletion.
    pub delete: bool,
}

/// The list.
#[derive(Template)]
#[template(path = "workspaces.html")]
pub(super) struct WorkspaceList<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspaces: Vec<WorkspaceCard>,
    /// Whether this is the first page.
    pub first: bool,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// Whether workspaces have pages of their own.
    pub has_page: bool,
    pub forms: WorkspaceForms,
}

/// The usage of one resource, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsageLine {
    pub resource: &'static str,
    pub amount: String,
}

/// A part of a page that may be missing: its content, or why there is none.
#[derive(Clone, Debug)]
pub(super) enum PagePart<T> {
    Shown(T),
    Missing(String),
}

/// The log.
#[derive(Clone, Debug)]
pub(super) struct LogView {
    pub lines: Vec<String>,
    /// Whether there are earlier lines.
    pub truncated: bool,
}

/// The page of one workspace.
#[derive(Template)]
#[template(path = "workspace.html")]
pub(super) struct WorkspaceDetails<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspace: WorkspaceCard,
    pub home: String,
    pub parameters: Vec<(String, String)>,
    /// `None`: it does not run, or the endpoint does not serve `workspace_usage`.
    pub usage: Option<PagePart<Vec<UsageLine>>>,
    /// `None`: the endpoint does not serve `workspace_logs`.
    pub log: Option<PagePart<LogView>>,
    pub forms: WorkspaceForms,
}

/// The page that asks before a deletion.
#[derive(Template)]
#[template(path = "delete_workspace.html")]
pub(super) struct DeleteWorkspace<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspace: WorkspaceCard,
    pub csrf_token: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;
    use portcullis_core::grant::GrantUser;
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::json;

    #[test]
    fn a_workspace_of_another_user_with_the_same_name_is_not_the_users_own() {
        let now = Timestamp::UNIX_EPOCH;
        let session = Session::begin(None, now, &mut StdRng::seed_from_u64(1));
        let user = UserSession { session, user: GrantUser { id: "sso:1".to_owned(), name: "Ada".to_owned() } };
        let workspace: Workspace = serde_json::from_value(json!({
            "id": "ws-1", "name": "web", "template": "debian", "status": "running", "owner": "Ada", "outdated": false,
            "parameters": {}, "home": "/home/dev", "created_at": now,
        }))
        .unwrap();
        for (owner_id, other) in [("sso:1", None), ("hub:ada", Some("Ada"))] {
            let workspace = Workspace { owner_id: owner_id.to_owned(), ..workspace.clone() };
            assert_eq!(WorkspaceCard::new(&workspace, &user, now).owner.as_deref(), other, "{owner_id}");
        }
    }
}
