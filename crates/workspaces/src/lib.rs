//! The trait `Workspaces`, which tools call, and its backends.
//!
//! Every operation acts on behalf of an [`Owner`] and sees only the workspaces that this owner may access: all others
//! are indistinguishable from missing ones. Rules that apply to every caller are enforced here, once, and not in the
//! protocols above.

mod error;
mod everyone;
pub mod kubernetes;
pub mod local;
mod paging;
mod types;

pub use error::Error;
pub use types::{
    CreateWorkspace, Owner, ParameterType, Purpose, Status, Template, TemplateParameter, Workspace, WorkspaceFilter,
    WorkspaceLogs, WorkspacePage, check_name,
};

use async_trait::async_trait;
use portcullis_config::WorkspaceRules;
use std::time::Duration;

/// A backend for workspaces. `workspace` arguments are the id or the name of a workspace.
#[async_trait]
pub trait Workspaces: Send + Sync + 'static {
    /// Applies new rules. Called whenever the endpoint's configuration is read.
    fn apply(&self, rules: &WorkspaceRules);

    /// Whether workspaces are folders and processes of this machine, without a sandbox. Users read it before they consent.
    fn are_unconfined(&self) -> bool {
        false
    }

    /// The templates for new workspaces, sorted by name.
    async fn templates(&self, owner: &Owner) -> Result<Vec<Template>, Error>;

    /// One page of the workspaces that the owner can see and that match the filter, sorted by name.
    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error>;

    /// One page of at most `limit` workspaces of all owners, after the cursor of the previous page. For administrators of the
    /// endpoint only: the caller checks that.
    async fn list_all(&self, cursor: Option<&str>, limit: usize) -> Result<WorkspacePage, Error>;

    /// The workspace with this id or name.
    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// Creates a workspace and starts it.
    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error>;

    /// Starts a workspace. Does nothing if it already runs.
    ///
    /// Waits at most `wait` until the workspace runs or cannot start; the status of the returned workspace tells which.
    async fn start(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error>;

    /// Ends all processes of a workspace and keeps its files. Does nothing if the workspace is already stopped.
    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// Ends all processes of a workspace and starts it again with the current version of its template.
    async fn restart(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error>;

    /// Stops a workspace and deletes it with its files. Returns its last state.
    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// The last `lines` lines of output of the main process and the workspace agent, even if the workspace does not
    /// run.
    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error>;

    /// A client of the workspace agent of a running workspace.
    async fn agent(&self, owner: &Owner, workspace: &str, purpose: Purpose) -> Result<portcullis_agent::Client, Error>;
}
