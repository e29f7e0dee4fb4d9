//! The trait `Workspaces`, which tools call, and its backends.
//!
//! Every operation is on behalf of an [`Owner`] and sees only what is theirs: somebody else's workspace answers
//! exactly as one that does not exist. A rule that holds for every caller is enforced here, once, not in the
//! protocols above.

mod error;
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

/// Where agents work. `workspace` arguments are a workspace's id or its name.
#[async_trait]
pub trait Workspaces: Send + Sync + 'static {
    /// From now on these rules count: the endpoint's configuration has been read.
    fn apply(&self, rules: &WorkspaceRules);

    /// Whether workspaces are folders and processes of this machine, without a sandbox. Users read it before they consent.
    fn are_unconfined(&self) -> bool {
        false
    }

    /// What a workspace can be made from, sorted by name.
    async fn templates(&self, owner: &Owner) -> Result<Vec<Template>, Error>;

    /// The owner's workspaces that match, sorted by name, a page at a time.
    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error>;

    /// One workspace.
    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// Makes a workspace and starts it.
    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error>;

    /// Starts a workspace; nothing changes if it runs already.
    ///
    /// Waits for at most `wait` until it runs, or cannot; the status of what is returned says which.
    async fn start(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error>;

    /// Ends every process of a workspace and keeps its files; nothing changes if it is stopped already.
    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// Ends every process of a workspace and starts it again, with what its template says now.
    async fn restart(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error>;

    /// Stops a workspace and deletes it with its files. Returns it as it last was.
    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error>;

    /// The last `lines` lines of what its main process and its agent have said, also if it is down.
    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error>;

    /// A way to the agent of a running workspace.
    async fn agent(&self, owner: &Owner, workspace: &str, purpose: Purpose) -> Result<portcullis_agent::Client, Error>;
}
