//! Workspaces in a cluster: `Workspace` objects in the endpoint's namespace, which the operator turns into pods.
//!
//! Reads are answered from memory, which watches keep up to date; changes are written to the API server. Commands and
//! file operations go to the workspace agent in the pod, over one connection for each workspace.

mod access;
mod activity;
mod catalog;
mod entry;
mod exec;
mod lifecycle;
mod logs;
mod object_name;
mod reviews;
mod tunnel;

pub use catalog::KINDS;

use crate::{
    CreateWorkspace, Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, WorkspaceLogs, WorkspacePage,
    Workspaces, everyone, paging::Pager,
};
use access::{Access, Action};
use activity::Activity;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use catalog::Catalog;
use entry::WorkspaceEntry;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use lifecycle::Lifecycle;
use portcullis_config::WorkspaceRules;
use portcullis_core::clock::Clock;
use portcullis_reflector::{Health, Lookup};
use reviews::Reviews;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel::{Tunnel, TunnelContext, TunnelTransport};

/// How long a command waits for a starting workspace: long enough if its pod was just replaced.
const STARTED_WITHIN: Duration = Duration::from_secs(5);
/// How long the shutdown waits for running tasks.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// The options of the backend.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesOptions {
    /// How long an unused connection to a workspace agent stays open.
    pub idle: Duration,
}

impl Default for KubernetesOptions {
    fn default() -> Self {
        Self { idle: Duration::from_mins(5) }
    }
}

/// The workspaces of one endpoint.
pub struct KubernetesWorkspaces {
    catalog: Arc<Catalog>,
    access: Access,
    lifecycle: Lifecycle,
    activity: Arc<Activity>,
    rules: ArcSwap<WorkspaceRules>,
    pods: Api<Pod>,
    common: Arc<TunnelContext>,
    /// The tunnels that are open or in use, by the workspace's UID.
    tunnels: Mutex<HashMap<String, Weak<Tunnel>>>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl KubernetesWorkspaces {
    /// The workspaces of `endpoint` in `namespace`. They are loaded by [`Self::run`], which reports [`KINDS`] kinds to
    /// `health`.
    #[must_use]
    pub fn new(
        client: &Client,
        namespace: &str,
        endpoint: &str,
        health: Arc<Health>,
        clock: Arc<dyn Clock>,
        options: KubernetesOptions,
    ) -> Self {
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let catalog = Arc::new(Catalog::new(client, namespace, endpoint, health, Arc::clone(&clock)));
        let activity = Arc::new(Activity::new(Arc::clone(&catalog), clock));
        let common = TunnelContext {
            pods: pods.clone(),
            catalog: Arc::clone(&catalog),
            activity: Arc::clone(&activity),
            idle: options.idle,
            tasks: tasks.clone(),
            stop: ended.clone(),
        };
        Self {
            access: Access::new(Arc::clone(&catalog), Reviews::new(client, namespace, endpoint)),
            lifecycle: Lifecycle::new(Arc::clone(&catalog), endpoint, tasks.clone(), ended.clone()),
            activity,
            rules: ArcSwap::default(),
            catalog,
            pods,
            common: Arc::new(common),
            tunnels: Mutex::default(),
            tasks,
            ended,
        }
    }

    /// Watches the API server until `stop`; then finishes running tasks, closes all connections, and writes the last
    /// activity of workspaces.
    pub async fn run(&self, stop: &CancellationToken) {
        let following = async {
            tokio::select! {
                () = self.catalog.follow() => {}
                () = self.activity.run() => {}
            }
        };
        stop.run_until_cancelled(Box::pin(following)).await;
        self.ended.cancel();
        self.tasks.close();
        if tokio::time::timeout(ENDED_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some operations in workspaces have not ended");
        }
        self.activity.save_at_the_end().await;
    }

    async fn find(&self, owner: &Owner, wanted: &str, action: Action) -> Result<Arc<WorkspaceEntry>, Error> {
        self.access.find(self.rules.load().mode, owner, wanted, action).await
    }

    /// The view for users. If the workspace was never started, its home folder comes from the template.
    fn shown(&self, entry: &WorkspaceEntry) -> Workspace {
        let mut view = entry.view.clone();
        if view.home.is_empty()
            && let Lookup::Present(template) = self.catalog.templates.find(&view.template)
        {
            view.home.clone_from(&template.spec.storage.mount_path);
        }
        view
    }

    fn tunnel(&self, entry: &WorkspaceEntry) -> Arc<Tunnel> {
        let mut tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tunnel) = tunnels.get(&entry.uid).and_then(Weak::upgrade)
            && tunnel.pod() == entry.pod
        {
            return tunnel;
        }
        tunnels.retain(|_, tunnel| tunnel.strong_count() > 0);
        let tunnel = Arc::new(Tunnel::new(Arc::clone(&self.common), &entry.view.id, &entry.uid, &entry.pod));
        tunnels.insert(entry.uid.clone(), Arc::downgrade(&tunnel));
        tunnel
    }
}

#[async_trait]
impl Workspaces for KubernetesWorkspaces {
    fn apply(&self, rules: &WorkspaceRules) {
        self.rules.store(Arc::new(rules.clone()));
    }

    async fn templates(&self, _owner: &Owner) -> Result<Vec<Template>, Error> {
        Ok(self.catalog.templates.with_user("", |all| all.map(|template| template.view.clone()).collect()))
    }

    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error> {
        let pager = Pager::new(filter)?;
        let found = self.access.list(self.rules.load().mode, owner, &pager).await;
        Ok(pager.page(found.iter().map(|entry| self.shown(entry)).collect()))
    }

    async fn list_all(&self, cursor: Option<&str>, limit: usize) -> Result<WorkspacePage, Error> {
        let position =
            |entry: &Arc<WorkspaceEntry>| (entry.owner.clone(), entry.view.name.clone(), entry.view.id.clone());
        let all = self.catalog.workspaces.all(|_| true);
        let (found, next_cursor) = everyone::page(all, position, cursor, limit)?;
        Ok(WorkspacePage { workspaces: found.iter().map(|entry| self.shown(entry)).collect(), next_cursor })
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        Ok(self.shown(&*self.find(owner, workspace, Action::See).await?))
    }

    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error> {
        let made = self.lifecycle.create(owner, &request, self.rules.load().max_per_user).await?;
        Ok(self.shown(&*self.lifecycle.until_settled(made, request.wait, false).await))
    }

    async fn start(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace, Action::Start).await?;
        let started = self.lifecycle.set_running(&entry, true).await?;
        Ok(self.shown(&*self.lifecycle.until_settled(started, wait, false).await))
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace, Action::Stop).await?;
        Ok(self.shown(&*self.lifecycle.set_running(&entry, false).await?))
    }

    async fn restart(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace, Action::Restart).await?;
        let restarted = self.lifecycle.restart(&entry).await?;
        Ok(self.shown(&*self.lifecycle.until_settled(restarted, wait, true).await))
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let entry = self.find(owner, workspace, Action::Delete).await?;
        Ok(self.shown(&self.lifecycle.delete(&entry).await?))
    }

    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error> {
        logs::read(&self.pods, &*self.find(owner, workspace, Action::See).await?, lines).await
    }

    async fn agent(&self, owner: &Owner, workspace: &str, purpose: Purpose) -> Result<portcullis_agent::Client, Error> {
        let action = match purpose {
            Purpose::Look => Action::See,
            Purpose::Work => Action::Work,
            Purpose::Journal => Action::SeeJournal,
        };
        let mut entry = self.find(owner, workspace, action).await?;
        if purpose == Purpose::Work && entry.view.status == Status::Starting {
            entry = self.lifecycle.until_settled(entry, Some(STARTED_WITHIN), false).await;
        }
        let name = entry.view.name.clone();
        match entry.view.status {
            Status::Running => {}
            Status::Stopped => return Err(Error::Stopped { workspace: name }),
            status => {
                let problem = entry.view.problem.clone().unwrap_or_default();
                return Err(Error::NotRunning { workspace: name, status: word(status).to_owned(), problem });
            }
        }
        Ok(portcullis_agent::Client::new(Arc::new(TunnelTransport {
            tunnel: self.tunnel(&entry),
            is_work: purpose == Purpose::Work,
        })))
    }
}

impl fmt::Debug for KubernetesWorkspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesWorkspaces").finish_non_exhaustive()
    }
}

/// The status in messages for agents.
fn word(status: Status) -> &'static str {
    match status {
        Status::Starting => "starting",
        Status::Running => "running",
        Status::Stopping => "stopping",
        Status::Stopped => "stopped",
        Status::Failed => "failed",
    }
}
