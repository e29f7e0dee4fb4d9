//! Indexes of the endpoint's workspaces and of the templates in its namespace, which watches keep up to date, and
//! writes to the API server.
//!
//! The response to a write is applied to the index before the writer gets it; older watch events are dropped.

use crate::kubernetes::{
    entry::{TemplateEntry, WorkspaceEntry},
    object_name::object_name,
};
use crate::{Owner, check_name};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher::{Config, Event},
};
use portcullis_api::{Guarded, Workspace as Object, WorkspaceTemplate};
use portcullis_core::clock::Clock;
use portcullis_reflector::{Health, Index, Lookup, RequestError, StatusWriter, Watch, identity, request};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The number of kinds that are listed before the server is ready.
pub const KINDS: usize = 2;
/// The field manager of `status.lastActivity`, the same for all servers.
const ACTIVITY_MANAGER: &str = "portcullis-server-activity";
/// The maximum wait for a deletion; only objects with finalizers take longer.
const DELETED_WITHIN: Duration = Duration::from_secs(2);

/// How often to drop expired tombstones.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// The indexes, and the API for writes.
pub(super) struct Catalog {
    /// The endpoint's workspaces.
    pub workspaces: Index<WorkspaceEntry>,
    /// The namespace's templates.
    pub templates: Index<TemplateEntry>,
    objects: Api<Guarded<Object>>,
    new_objects: Api<Object>,
    template_objects: Api<Guarded<WorkspaceTemplate>>,
    endpoint: String,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
}

impl Catalog {
    pub(super) fn new(
        client: &Client,
        namespace: &str,
        endpoint: &str,
        health: Arc<Health>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            workspaces: Index::default(),
            templates: Index::default(),
            objects: Api::namespaced(client.clone(), namespace),
            new_objects: Api::namespaced(client.clone(), namespace),
            template_objects: Api::namespaced(client.clone(), namespace),
            endpoint: endpoint.to_owned(),
            health,
            clock,
        }
    }

    /// Watches the API server until the future is dropped.
    pub(super) async fn follow(&self) {
        let of_endpoint = Config::default().fields(&format!("spec.endpointRef.name={}", self.endpoint));
        let mut watch = Watch::new(self.objects.clone(), of_endpoint);
        let workspaces = async {
            loop {
                let event = watch.next().await;
                self.apply_workspace_event(event).await;
                watch.applied(&self.health);
            }
        };
        let mut watch = Watch::new(self.template_objects.clone(), Config::default());
        let templates = async {
            loop {
                let event = watch.next().await;
                self.apply_template_event(event);
                watch.applied(&self.health);
            }
        };
        let forget = async {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                let now = self.clock.now();
                self.workspaces.forget(now);
                self.templates.forget(now);
            }
        };
        tokio::select! {
            () = workspaces => {}
            () = templates => {}
            () = forget => {}
        }
    }

    async fn apply_workspace_event(&self, event: Event<Guarded<Object>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => match self.readable(object) {
                Ok(entry) => drop(self.workspaces.apply_watch_event(entry)),
                Err(name) => self.workspaces.removed(&name, None, self.clock.now()),
            },
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.workspaces.removed(&name, version, self.clock.now());
            }
            Event::Init => self.workspaces.list_begins(),
            Event::InitDone => {
                for name in self.workspaces.list_ends(self.clock.now()) {
                    if self.read(&name).await.is_err() {
                        self.workspaces.removed(&name, None, self.clock.now());
                    }
                }
            }
        }
    }

    fn apply_template_event(&self, event: Event<Guarded<WorkspaceTemplate>>) {
        let now = self.clock.now();
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let (name, _) = identity(&object);
                match object.0 {
                    Ok(template) => drop(self.templates.apply_watch_event(TemplateEntry::of(template))),
                    Err(invalid) => {
                        let error = invalid.error;
                        tracing::warn!(template = name, error, "a WorkspaceTemplate cannot be read, and is not listed");
                        self.templates.removed(&name, None, now);
                    }
                }
            }
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.templates.removed(&name, version, now);
            }
            Event::Init => self.templates.list_begins(),
            // This server does not write templates, so every template in the index came from the watch.
            Event::InitDone => drop(self.templates.list_ends(now)),
        }
    }

    /// Reads a workspace from the API server, and updates the index.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Arc<WorkspaceEntry>>, RequestError> {
        let known = self.workspaces.version(name);
        let answer = request(self.objects.get_opt(name)).await?;
        let Some(entry) = answer.and_then(|object| self.readable(object).ok()) else {
            self.workspaces.apply_not_found(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(self.workspaces.apply_response(entry)))
    }

    /// The owner's workspace of this name, if another server created it and the watch has not reported it yet.
    pub(super) async fn made_elsewhere(&self, owner: &Owner, name: &str) -> Option<Arc<WorkspaceEntry>> {
        check_name(name).ok()?;
        let made = self.read(&object_name(&self.endpoint, &owner.id, name)).await.ok()??;
        (made.owner == owner.id && made.view.name == name).then_some(made)
    }

    pub(super) async fn create(&self, object: &Object) -> Result<Arc<WorkspaceEntry>, RequestError> {
        let made = request(self.new_objects.create(&PostParams::default(), object)).await?;
        self.apply_response(Guarded(Ok(made)))
    }

    /// Starts or stops a workspace; fails with 404 or 409 if it is no longer the one in the index.
    pub(super) async fn set_running(
        &self,
        entry: &WorkspaceEntry,
        running: bool,
    ) -> Result<Arc<WorkspaceEntry>, RequestError> {
        let patch = Patch::Merge(json!({"metadata": {"uid": entry.uid}, "spec": {"running": running}}));
        let kept = request(self.objects.patch(&entry.view.id, &PatchParams::default(), &patch)).await?;
        self.apply_response(kept)
    }

    /// Deletes a workspace, and returns when the index has the deletion; fails as [`Self::set_running`] does.
    pub(super) async fn delete(&self, entry: &WorkspaceEntry) -> Result<(), RequestError> {
        let preconditions = Some(Preconditions { uid: Some(entry.uid.clone()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        if let Some(kept) = request(self.objects.delete(&entry.view.id, &params)).await?.left() {
            // A finalizer delays the deletion.
            return self.apply_response(kept).map(drop);
        }
        // The response does not contain the version of the deletion; the watch event does.
        let here = |known: &WorkspaceEntry| known.uid == entry.uid && !known.deleting;
        let gone = self.until(&entry.view.id, |known| known.is_none_or(|known| !here(known)));
        if tokio::time::timeout(DELETED_WITHIN, gone).await.is_err() {
            self.workspaces.removed(&entry.view.id, None, self.clock.now());
        }
        Ok(())
    }

    /// Waits until the workspace in the index meets the condition, and returns it.
    pub(super) async fn until(
        &self,
        name: &str,
        enough: impl Fn(Option<&WorkspaceEntry>) -> bool,
    ) -> Option<Arc<WorkspaceEntry>> {
        let mut changes = self.workspaces.changes();
        loop {
            changes.mark_unchanged();
            let known = match self.workspaces.find(name) {
                Lookup::Present(entry) => Some(entry),
                Lookup::Deleted | Lookup::Unknown => None,
            };
            if enough(known.as_deref()) || changes.changed().await.is_err() {
                return known;
            }
        }
    }

    fn apply_response(&self, object: Guarded<Object>) -> Result<Arc<WorkspaceEntry>, RequestError> {
        let entry = self.readable(object).map_err(RequestError::Unreadable)?;
        Ok(self.workspaces.apply_response(entry))
    }

    /// The index entry, if the object is readable and belongs to this endpoint; otherwise the object's name.
    fn readable(&self, object: Guarded<Object>) -> Result<WorkspaceEntry, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => Ok(WorkspaceEntry::of(object)),
            Err(invalid) => {
                tracing::warn!(workspace = name, error = %invalid.error, "a Workspace cannot be read, and is not listed");
                Err(name)
            }
        }
    }
}

/// Writes the last activity of workspaces.
impl StatusWriter for Catalog {
    async fn write(&self, name: &str, at: Timestamp) -> Result<(), RequestError> {
        let Lookup::Present(entry) = self.workspaces.find(name) else { return Ok(()) };
        let (api_version, kind) = (<Object as kube::Resource>::api_version(&()), <Object as kube::Resource>::kind(&()));
        let patch: Value = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "uid": entry.uid},
            "status": {"lastActivity": at},
        });
        let params = PatchParams::apply(ACTIVITY_MANAGER).force();
        match request(self.objects.patch_status(name, &params, &Patch::Apply(&patch))).await {
            Ok(kept) => self.apply_response(kept).map(drop),
            // The name now belongs to another workspace.
            Err(error) if error.code() == Some(409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
