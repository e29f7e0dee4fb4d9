//! The controller of workspaces: one reconcile handles one workspace, from memory alone.
//!
//! The deletion of a workspace needs no work: its objects have owner references, so the garbage collector deletes them, and
//! the StatefulSet's policy decides about the volume.

mod observe;
mod reason;
mod status;

use crate::{
    apply::{Applied, Applier, ApplyError, FIELD_MANAGER, describe},
    context::Context,
    metrics::{ReconcileOutcome, Subject, Verb},
    reconcile::{ReconcileError, TAKEN_RETRY, retry},
    requeue::RequeueTimes,
    stores::{Guarded, WorkspaceKey, workspace_key},
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::controller::Action,
};
use observe::WorkspaceObservation;
use portcullis_api::{
    Workspace, WorkspaceStatus,
    condition::{READY, conditions},
    labels::WORKSPACE_LABEL,
};
use portcullis_plan::workspace::{WorkspacePlan, plan};
use serde_json::json;
use status::{StatusInputs, WorkspaceProblem};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// The context of every reconcile of a workspace.
pub struct Manager {
    context: Arc<Context>,
    /// The times of idle stops and expiries.
    pub requeues: RequeueTimes<WorkspaceKey>,
    /// The numbers of consecutive failures, for the backoff. Can be lost.
    failures: Mutex<HashMap<WorkspaceKey, u32>>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("requeues", &self.requeues).finish_non_exhaustive()
    }
}

impl Manager {
    /// Without any state of workspaces.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, requeues: RequeueTimes::default(), failures: Mutex::default() }
    }

    /// Drops the state of a deleted workspace.
    pub fn forget(&self, key: &WorkspaceKey) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.requeues.set(key, None);
    }

    /// The number of consecutive failures, including this one.
    fn count(&self, key: WorkspaceKey, failed: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            let times = failures.entry(key).or_default();
            *times = times.saturating_add(1);
        } else {
            failures.remove(&key);
        }
    }
}

/// Reconciles one workspace.
pub async fn reconcile(workspace: Arc<Guarded<Workspace>>, manager: Arc<Manager>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
    let key = workspace_key(&namespace, &name);
    let context = &*manager.context;
    // Changes since the event count too.
    let newest = context.stores.workspaces.all.get(&namespace, &name).unwrap_or(workspace);
    let result = match &newest.0 {
        Ok(valid) if valid.metadata.deletion_timestamp.is_some() => Ok(WorkspaceProgress::Done),
        Ok(valid) => {
            let reconcile = WorkspaceReconcile { context, workspace: valid, namespace: &namespace, name: &name };
            reconcile.run(&manager.requeues, &key).await
        }
        Err(invalid) => {
            let error = &invalid.error;
            tracing::warn!(namespace, name, %error, "a Workspace cannot be read; update the CRDs and the operator to the same version");
            Ok(WorkspaceProgress::Blocked)
        }
    };
    manager.count(key, result.is_err());
    let (outcome, result) = match result {
        Ok(WorkspaceProgress::Done) => (ReconcileOutcome::Done, Ok(Action::await_change())),
        Ok(WorkspaceProgress::Blocked) => (ReconcileOutcome::Unplannable, Ok(Action::requeue(TAKEN_RETRY))),
        Err(error) => (error.outcome(), Err(error)),
    };
    context.metrics.reconciled(Subject::Workspace, outcome, started.elapsed());
    result
}

/// The delay after a failure.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime's signature")]
pub fn error_policy(workspace: Arc<Guarded<Workspace>>, error: &ReconcileError, manager: Arc<Manager>) -> Action {
    let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
    let failures = manager.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = failures.get(&workspace_key(&namespace, &name)).copied().unwrap_or_default();
    retry(error, failures, &namespace, &name)
}

/// The result of a successful reconcile.
enum WorkspaceProgress {
    Done,
    /// It needs a change by a user that no watch reports.
    Blocked,
}

/// One reconcile of a readable workspace.
struct WorkspaceReconcile<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    namespace: &'a str,
    name: &'a str,
}

impl WorkspaceReconcile<'_> {
    async fn run(
        &self,
        requeues: &RequeueTimes<WorkspaceKey>,
        key: &WorkspaceKey,
    ) -> Result<WorkspaceProgress, ReconcileError> {
        let stores = &self.context.stores.workspaces;
        let applier = Applier {
            client: &self.context.client,
            objects: &stores.objects,
            metrics: &self.context.metrics,
            namespace: self.namespace,
            label: (WORKSPACE_LABEL, self.name),
        };
        let owner = self.workspace.controller_owner_ref(&());
        if applier.adopt(owner.as_slice()).await? {
            return Err(ApplyError::Stale(format!("Workspace {:?}", self.name)).into());
        }
        let now = self.context.clock.now();
        let observed = WorkspaceObservation::of(&self.context.stores, self.workspace);
        let plan = plan(&observed.inputs(self.workspace, stores, now)).map_err(ApplyError::Plan)?;
        if plan.expires_at.is_some_and(|end| end <= now) {
            return self.expire().await;
        }
        if plan.idle_at.is_some_and(|end| end <= now) {
            return self.stop().await;
        }
        requeues.set(key, plan.idle_at.into_iter().chain(plan.expires_at).min());

        let problem = match self.apply(&applier, &plan).await {
            Ok(problem) => problem,
            Err(error) if error.is_refused() => {
                let problem = WorkspaceProblem { reason: reason::POD_REFUSED, message: error.explain() };
                self.report(&observed, &plan, Some(&problem)).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        self.report(&observed, &plan, problem.as_ref()).await?;
        Ok(if problem.is_some() { WorkspaceProgress::Blocked } else { WorkspaceProgress::Done })
    }

    /// Applies the plan. Returns why a part of it was not applied.
    async fn apply(&self, applier: &Applier<'_>, plan: &WorkspacePlan) -> Result<Option<WorkspaceProblem>, ApplyError> {
        for planned in &plan.objects {
            match applier.apply(planned).await? {
                Applied::Unchanged | Applied::Written => {}
                Applied::Repaired => {
                    let what = describe(&planned.object);
                    let note = format!("{what} was changed; it was restored");
                    self.context.events.note(self.workspace, "DriftRepaired", "Apply", note).await;
                }
                Applied::NameTaken => {
                    let what = describe(&planned.object);
                    let message =
                        format!("{what} belongs to something else; ask the platform's engineers to remove it");
                    return Ok(Some(WorkspaceProblem { reason: reason::NAME_TAKEN, message }));
                }
            }
        }
        Ok(None)
    }

    /// Stops an idle workspace.
    async fn stop(&self) -> Result<WorkspaceProgress, ReconcileError> {
        let api: Api<Guarded<Workspace>> = Api::namespaced(self.context.client.clone(), self.namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        // With the version that was seen: a user may just have begun to work in it.
        let patch = json!({
            "metadata": {"resourceVersion": self.workspace.metadata.resource_version},
            "spec": {"running": false},
        });
        match api.patch(self.name, &params, &Patch::Merge(&patch)).await {
            Ok(stopped) => {
                self.context.metrics.wrote("Workspace", Verb::Apply);
                let note = "it was idle for the idleStop of its template; it is stopped, and its files are kept";
                self.context.events.note(self.workspace, reason::IDLE_STOPPED, "Stop", note.to_owned()).await;
                self.context.stores.workspaces.all.learn(stopped);
                // The watch event of this write is not a change, so continue here.
                Err(ApplyError::Stale(format!("Workspace {:?}", self.name)).into())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(WorkspaceProgress::Done),
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                Err(ApplyError::Stale(format!("Workspace {:?}", self.name)).into())
            }
            Err(error) => Err(self.api_error("stopped", error)),
        }
    }

    /// Deletes a workspace at its timeToLive.
    async fn expire(&self) -> Result<WorkspaceProgress, ReconcileError> {
        let note = "it has reached the timeToLive of its template; it is deleted";
        self.context.events.note(self.workspace, reason::EXPIRED, "Delete", note.to_owned()).await;
        let api: Api<Guarded<Workspace>> = Api::namespaced(self.context.client.clone(), self.namespace);
        let preconditions = Some(Preconditions { uid: self.workspace.uid(), resource_version: None });
        match api.delete(self.name, &DeleteParams { preconditions, ..DeleteParams::background() }).await {
            Ok(_) => {
                self.context.metrics.wrote("Workspace", Verb::Delete);
                Ok(WorkspaceProgress::Done)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(WorkspaceProgress::Done),
            Err(error) => Err(self.api_error("deleted", error)),
        }
    }

    fn api_error(&self, what: &'static str, source: kube::Error) -> ReconcileError {
        ApplyError::Api { object: format!("Workspace {:?}", self.name), what, source: Box::new(source) }.into()
    }

    /// Writes the status and Events, if they differ from the previous ones.
    async fn report(
        &self,
        observed: &WorkspaceObservation,
        plan: &WorkspacePlan,
        problem: Option<&WorkspaceProblem>,
    ) -> Result<(), ReconcileError> {
        let before = self.workspace.status.clone().unwrap_or_default();
        let previous = before.conditions.iter().find(|condition| condition.type_ == READY);
        let found = status::find(&StatusInputs {
            up: plan.up,
            blocker: plan.blocker.as_ref(),
            next_start: plan.next_start.as_ref(),
            problem,
            pod: observed.pod.as_deref(),
            claim: observed.claim.as_deref(),
            refusal: observed.refusal_since(plan.started_at),
            volume_failure: observed.volume_failure.as_deref(),
            previous,
        });
        let generation = self.workspace.metadata.generation;
        let status = WorkspaceStatus {
            observed_generation: generation,
            phase: Some(found.phase),
            pod_name: observed.pod.as_ref().map(|pod| pod.name_any()),
            // This field belongs to the servers.
            last_activity: None,
            expires_at: plan.expires_at,
            outdated: plan.outdated,
            home: plan.home.clone(),
            conditions: conditions(&found.findings(), &before.conditions, generation, self.context.clock.now()),
        };
        if status == (WorkspaceStatus { last_activity: None, ..before.clone() }) {
            return Ok(());
        }
        let written =
            self.context.write_status(&self.context.stores.workspaces.all, self.namespace, self.name, &status);
        let named = || format!("Workspace {:?}", self.name);
        written.await.map_err(|error| ReconcileError::Status(named(), Box::new(error)))?;
        let is_new = previous.is_none_or(|previous| previous.reason != found.ready.reason);
        if is_new && reason::is_warning(found.ready.reason) {
            self.context.events.warn(self.workspace, found.ready.reason, "Reconcile", found.ready.message).await;
        } else if is_new && matches!(found.ready.reason, reason::READY | reason::STOPPED) {
            self.context.events.note(self.workspace, found.ready.reason, "Reconcile", found.ready.message).await;
        }
        Ok(())
    }
}
