//! Creates, starts, stops and deletes workspaces: writes to the API server, and waits for the operator to act on the
//! changes.

use crate::kubernetes::{catalog::Catalog, entry::WorkspaceEntry, object_name::object_name};
use crate::{CreateWorkspace, Error, Owner, Status, check_name};
use portcullis_api::{Workspace as Object, WorkspaceSpec, client::EndpointRef, parameters, workspace::TemplateRef};
use portcullis_core::grant::GrantUser;
use portcullis_reflector::{Lookup, RequestError};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a restart waits for a workspace to stop. After that, the workspace is set to run anyway.
const STOPPED_WITHIN: Duration = Duration::from_mins(2);
/// The maximum length of the owner's name in the custom resource, in characters.
const LONGEST_OWNER: usize = 256;

/// Changes workspaces.
pub(super) struct Lifecycle {
    catalog: Arc<Catalog>,
    endpoint: String,
    /// Tasks that continue after the response to their request.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Lifecycle {
    pub(super) fn new(catalog: Arc<Catalog>, endpoint: &str, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { catalog, endpoint: endpoint.to_owned(), tasks, stop }
    }

    /// Creates a workspace that is set to run.
    pub(super) async fn create(
        &self,
        owner: &Owner,
        request: &CreateWorkspace,
        limit: u32,
    ) -> Result<Arc<WorkspaceEntry>, Error> {
        check_name(&request.name)?;
        self.check_template(request)?;
        let (same, count) = self.catalog.workspaces.with_user(&owner.id, |own| {
            let (mut same, mut count) = (None, 0_u32);
            for entry in own {
                count = count.saturating_add(u32::from(!entry.deleting));
                if entry.view.name == request.name {
                    same = Some(Arc::clone(entry));
                }
            }
            (same, count)
        });
        if let Some(same) = same {
            return Err(taken(&request.name, same.deleting));
        }
        if count >= limit {
            return Err(Error::QuotaExceeded { count, limit });
        }
        let id = object_name(&self.endpoint, &owner.id, &request.name);
        let spec = WorkspaceSpec {
            endpoint_ref: EndpointRef { name: self.endpoint.clone() },
            owner: GrantUser { id: owner.id.clone(), name: owner.name.chars().take(LONGEST_OWNER).collect() },
            display_name: request.name.clone(),
            template_ref: TemplateRef { name: request.template.clone() },
            parameters: request.parameters.clone(),
            running: true,
        };
        match self.catalog.create(&Object::new(&id, spec)).await {
            Ok(made) => Ok(made),
            // Another server created it a moment ago, or its predecessor is still being deleted.
            Err(error) if error.code() == Some(409) => {
                let there = self.catalog.read(&id).await.ok().flatten();
                Err(taken(&request.name, there.is_none_or(|there| there.deleting)))
            }
            Err(error) => Err(refused(format!("make workspace {:?}", request.name), error)),
        }
    }

    fn check_template(&self, request: &CreateWorkspace) -> Result<(), Error> {
        let Lookup::Present(template) = self.catalog.templates.find(&request.template) else {
            let existing =
                self.catalog.templates.with_user("", |all| all.map(|template| template.view.name.clone()).collect());
            return Err(Error::UnknownTemplate { wanted: request.template.clone(), existing });
        };
        parameters::fill(&template.spec, &request.parameters)
            .map(drop)
            .map_err(|problems| Error::unfit(&request.template, problems))
    }

    /// Sets whether a workspace should run. Writes nothing if the value does not change.
    pub(super) async fn set_running(
        &self,
        entry: &Arc<WorkspaceEntry>,
        running: bool,
    ) -> Result<Arc<WorkspaceEntry>, Error> {
        if entry.deleting {
            return Err(Error::BeingDeleted { workspace: entry.view.name.clone() });
        }
        if entry.running == running {
            return Ok(Arc::clone(entry));
        }
        let verb = if running { "start" } else { "stop" };
        self.catalog.set_running(entry, running).await.map_err(|error| changed(entry, verb, error))
    }

    /// Stops a workspace, and starts it once it has stopped. Continues if the caller disconnects.
    pub(super) async fn restart(&self, entry: &Arc<WorkspaceEntry>) -> Result<Arc<WorkspaceEntry>, Error> {
        let stopping = self.set_running(entry, false).await?;
        if !stopping.settled {
            let catalog = Arc::clone(&self.catalog);
            let (stopped, stop) = (Arc::clone(&stopping), self.stop.clone());
            self.tasks.spawn(async move { start_when_stopped(&catalog, &stopped, &stop).await });
            return Ok(stopping);
        }
        self.set_running(&stopping, true).await
    }

    /// Deletes a workspace. Returns its last state.
    pub(super) async fn delete(&self, entry: &Arc<WorkspaceEntry>) -> Result<WorkspaceEntry, Error> {
        if !entry.deleting {
            self.catalog.delete(entry).await.map_err(|error| changed(entry, "delete", error))?;
        }
        let mut last = WorkspaceEntry::clone(entry);
        last.view.status = Status::Stopping;
        last.view.problem = Some("it is being deleted, which takes a few seconds".to_owned());
        Ok(last)
    }

    /// Waits at most `wait` until a workspace runs, or will not run without intervention. If it `restarts`, it may stop
    /// first.
    pub(super) async fn until_settled(
        &self,
        entry: Arc<WorkspaceEntry>,
        wait: Option<Duration>,
        restarts: bool,
    ) -> Arc<WorkspaceEntry> {
        let Some(wait) = wait else { return entry };
        let other = |known: &WorkspaceEntry| known.uid != entry.uid;
        let settled = self.catalog.until(&entry.view.id, |known| {
            known.is_none_or(|known| other(known) || known.deleting || (known.settled && (known.running || !restarts)))
        });
        let last = match tokio::time::timeout(wait, settled).await {
            Ok(known) => known,
            Err(_) => match self.catalog.workspaces.find(&entry.view.id) {
                Lookup::Present(known) => Some(known),
                Lookup::Deleted | Lookup::Unknown => None,
            },
        };
        last.filter(|last| !other(last)).unwrap_or(entry)
    }
}

/// The second half of a restart. Sets the workspace to run even if it does not stop in time, unless another request has
/// started, deleted or replaced it meanwhile.
async fn start_when_stopped(catalog: &Catalog, stopping: &WorkspaceEntry, stop: &CancellationToken) {
    let stopped = catalog.until(&stopping.view.id, |known| {
        known.is_none_or(|known| known.uid != stopping.uid || known.deleting || known.running || known.settled)
    });
    let stopped = tokio::select! {
        stopped = tokio::time::timeout(STOPPED_WITHIN, stopped) => stopped.unwrap_or_default(),
        () = stop.cancelled() => None,
    };
    let entry = stopped.as_deref().unwrap_or(stopping);
    if entry.uid != stopping.uid || entry.deleting || entry.running {
        return;
    }
    if let Err(error) = catalog.set_running(entry, true).await {
        let (workspace, error) = (&entry.view.id, portcullis_core::report::chain(&error));
        tracing::error!(workspace, error, "a workspace was stopped to be restarted, and could not be started");
    }
}

fn taken(name: &str, deleting: bool) -> Error {
    let name = name.to_owned();
    if deleting { Error::BeingDeleted { workspace: name } } else { Error::NameTaken { name } }
}

/// The error for a failed change of a known workspace.
fn changed(entry: &WorkspaceEntry, verb: &str, error: RequestError) -> Error {
    match error.code() {
        Some(404 | 409) => Error::BeingDeleted { workspace: entry.view.name.clone() },
        _ => refused(format!("{verb} workspace {:?}", entry.view.name), error),
    }
}

/// The cluster's refusal with its reason, or the failure of the request.
fn refused(doing: String, error: RequestError) -> Error {
    match (error.code(), error.refusal()) {
        (Some(400 | 403 | 422), Some(why)) => Error::Refused { doing, why: why.to_owned() },
        _ => Error::Cluster { doing, source: Box::new(error) },
    }
}
