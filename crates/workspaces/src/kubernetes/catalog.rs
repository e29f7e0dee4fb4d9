//! The workspaces of the endpoint and the templates of its namespace: followed by watches, and written.
//!
//! The answer to a write is known here before whoever wrote gets it; older news that the watch brings later is dropped.

use crate::kubernetes::{
    entry::{Entry, Offer},
    lifecycle::object_name,
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
use portcullis_reflector::{Found, Health, Index, Keeper, RequestError, Watch, identity, request};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The kinds that are listed before the server is ready.
pub const KINDS: usize = 2;
/// Who writes `status.lastActivity`: all servers, which agree.
const ACTIVITY_MANAGER: &str = "portcullis-server-activity";
/// How long the end of a deleted workspace is waited for; only an object that somebody holds by a finalizer lasts.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// How often names that were deleted long ago are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// What is known, and how it is written.
pub(super) struct Catalog {
    /// The endpoint's workspaces.
    pub workspaces: Index<Entry>,
    /// The namespace's templates.
    pub templates: Index<Offer>,
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

    /// Follows the API server for ever.
    pub(super) async fn follow(&self) {
        let of_endpoint = Config::default().fields(&format!("spec.endpointRef.name={}", self.endpoint));
        let mut watch = Watch::new(self.objects.clone(), of_endpoint);
        let workspaces = async {
            loop {
                let event = watch.next().await;
                self.workspace_told(event).await;
                watch.taken_in(&self.health);
            }
        };
        let mut watch = Watch::new(self.template_objects.clone(), Config::default());
        let templates = async {
            loop {
                let event = watch.next().await;
                self.template_told(event);
                watch.taken_in(&self.health);
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

    async fn workspace_told(&self, event: Event<Guarded<Object>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => match self.readable(object) {
                Ok(entry) => drop(self.workspaces.told(entry)),
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

    fn template_told(&self, event: Event<Guarded<WorkspaceTemplate>>) {
        let now = self.clock.now();
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let (name, _) = identity(&object);
                match object.0 {
                    Ok(template) => drop(self.templates.told(Offer::of(template))),
                    Err(invalid) => {
                        let error = invalid.error;
                        tracing::warn!(
                            template = name,
                            error,
                            "a WorkspaceTemplate cannot be read, and is not offered"
                        );
                        self.templates.removed(&name, None, now);
                    }
                }
            }
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.templates.removed(&name, version, now);
            }
            Event::Init => self.templates.list_begins(),
            // Nothing here writes templates, so all that is known was told.
            Event::InitDone => drop(self.templates.list_ends(now)),
        }
    }

    /// At the API server. Memory learns of it.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Arc<Entry>>, RequestError> {
        let known = self.workspaces.version(name);
        let answer = request(self.objects.get_opt(name)).await?;
        let Some(entry) = answer.and_then(|object| self.readable(object).ok()) else {
            self.workspaces.answered_none(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(self.workspaces.answered(entry)))
    }

    /// Somebody's own workspace of this name, if it was made at another server and the watch has not told of it yet.
    pub(super) async fn made_elsewhere(&self, owner: &Owner, name: &str) -> Option<Arc<Entry>> {
        check_name(name).ok()?;
        let made = self.read(&object_name(&self.endpoint, &owner.id, name)).await.ok()??;
        (made.owner == owner.id && made.view.name == name).then_some(made)
    }

    pub(super) async fn create(&self, object: &Object) -> Result<Arc<Entry>, RequestError> {
        let made = request(self.new_objects.create(&PostParams::default(), object)).await?;
        self.answered(Guarded(Ok(made)))
    }

    /// Has a workspace run, or not; fails with 404 or 409 if it is no longer the one that is known.
    pub(super) async fn set_running(&self, entry: &Entry, running: bool) -> Result<Arc<Entry>, RequestError> {
        let patch = Patch::Merge(json!({"metadata": {"uid": entry.uid}, "spec": {"running": running}}));
        let kept = request(self.objects.patch(&entry.view.id, &PatchParams::default(), &patch)).await?;
        self.answered(kept)
    }

    /// Deletes a workspace, and returns when that is known here; fails as [`Self::set_running`] does.
    pub(super) async fn delete(&self, entry: &Entry) -> Result<(), RequestError> {
        let preconditions = Some(Preconditions { uid: Some(entry.uid.clone()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        if let Some(kept) = request(self.objects.delete(&entry.view.id, &params)).await?.left() {
            // A finalizer holds it.
            return self.answered(kept).map(drop);
        }
        // The watch brings the version of the deletion, which the answer has not.
        let here = |known: &Entry| known.uid == entry.uid && !known.deleting;
        let gone = self.until(&entry.view.id, |known| known.is_none_or(|known| !here(known)));
        if tokio::time::timeout(GONE_WITHIN, gone).await.is_err() {
            self.workspaces.removed(&entry.view.id, None, self.clock.now());
        }
        Ok(())
    }

    /// Waits until what is known of a workspace is enough. Returns it as it is then.
    pub(super) async fn until(&self, name: &str, enough: impl Fn(Option<&Entry>) -> bool) -> Option<Arc<Entry>> {
        let mut changes = self.workspaces.changes();
        loop {
            changes.mark_unchanged();
            let known = match self.workspaces.find(name) {
                Found::Here(entry) => Some(entry),
                Found::Gone | Found::Unknown => None,
            };
            if enough(known.as_deref()) || changes.changed().await.is_err() {
                return known;
            }
        }
    }

    fn answered(&self, object: Guarded<Object>) -> Result<Arc<Entry>, RequestError> {
        let entry = self.readable(object).map_err(RequestError::Unreadable)?;
        Ok(self.workspaces.answered(entry))
    }

    /// The workspace, if it is one of this endpoint; else its name.
    fn readable(&self, object: Guarded<Object>) -> Result<Entry, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => Ok(Entry::of(object)),
            Err(invalid) => {
                tracing::warn!(workspace = name, error = %invalid.error, "a Workspace cannot be read, and is not shown");
                Err(name)
            }
        }
    }
}

/// When workspaces were last worked in.
impl Keeper for Catalog {
    async fn write(&self, name: &str, at: Timestamp) -> Result<(), RequestError> {
        let Found::Here(entry) = self.workspaces.find(name) else { return Ok(()) };
        let (api_version, kind) = (<Object as kube::Resource>::api_version(&()), <Object as kube::Resource>::kind(&()));
        let patch: Value = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "uid": entry.uid},
            "status": {"lastActivity": at},
        });
        let params = PatchParams::apply(ACTIVITY_MANAGER).force();
        match request(self.objects.patch_status(name, &params, &Patch::Apply(&patch))).await {
            Ok(kept) => self.answered(kept).map(drop),
            // Another one of the same name.
            Err(error) if error.code() == Some(409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
