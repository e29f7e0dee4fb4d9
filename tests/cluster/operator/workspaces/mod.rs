//! Workspaces, from manifests to pods and back, with the real StatefulSet controller.

mod idle;
mod interruptions;
mod life;
mod node;
mod refusals;
mod rest;
mod secrets;

use super::stage::{api, create, eventually};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
    events::v1::Event,
    networking::v1::NetworkPolicy,
};
use kube::{
    Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use portcullis_api::{
    Workspace, WorkspaceTemplate,
    labels::WORKSPACE_LABEL,
    workspace::{Phase, WorkspaceStatus},
};
use serde_json::{Value, json};

/// A template. `more` is merged over its spec.
fn template(name: &str, more: &Value) -> WorkspaceTemplate {
    let mut spec = json!({"pod": {"image": "debian:bookworm"}, "storage": {"size": "1Gi"}});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let manifest = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(manifest).unwrap()
}

/// A workspace of Alice's at the endpoint `agents`. `more` is merged over its spec.
fn workspace(name: &str, template: &str, more: &Value) -> Workspace {
    let mut spec = json!({
        "endpointRef": {"name": "agents"}, "owner": {"id": "local:alice", "name": "alice"},
        "displayName": name, "templateRef": {"name": template},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let manifest =
        json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(manifest).unwrap()
}

/// The namespace that a scenario plays in.
#[derive(Clone, Copy)]
struct Scene<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Scene<'_> {
    async fn make(&self, name: &str, template: &str, more: &Value) {
        create(self.client, self.namespace, &workspace(name, template, more)).await;
    }

    async fn status(&self, name: &str) -> Option<WorkspaceStatus> {
        api::<Workspace>(self.client, self.namespace).get_opt(name).await.unwrap()?.status
    }

    /// Waits until `Ready` of a workspace has this reason, and returns its status.
    async fn until(&self, name: &str, phase: Phase, reason: &str) -> WorkspaceStatus {
        eventually(&format!("{name} is {phase:?} for {reason}"), async || {
            let status = self.status(name).await?;
            let ready = status.conditions.first()?;
            (status.phase == Some(phase) && ready.reason == reason).then_some(status)
        })
        .await
    }

    async fn patch(&self, name: &str, spec: &Value) {
        let patch = json!({"spec": spec});
        let workspaces = api::<Workspace>(self.client, self.namespace);
        workspaces.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn patch_template(&self, name: &str, spec: &Value) {
        let patch = json!({"spec": spec});
        let templates = api::<WorkspaceTemplate>(self.client, self.namespace);
        templates.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn pod(&self, name: &str) -> Option<Pod> {
        api::<Pod>(self.client, self.namespace).get_opt(&format!("workspace-{name}-0")).await.unwrap()
    }

    async fn set(&self, name: &str) -> Option<StatefulSet> {
        api::<StatefulSet>(self.client, self.namespace).get_opt(&format!("workspace-{name}")).await.unwrap()
    }

    /// What is left of workspaces, by kind and name.
    async fn left(&self) -> Vec<String> {
        let labelled = ListParams::default().labels(WORKSPACE_LABEL);
        let mut found = Vec::new();
        let sets = api::<StatefulSet>(self.client, self.namespace).list(&labelled).await.unwrap();
        found.extend(sets.iter().map(|object| format!("StatefulSet/{}", object.name_any())));
        let policies = api::<NetworkPolicy>(self.client, self.namespace).list(&labelled).await.unwrap();
        found.extend(policies.iter().map(|object| format!("NetworkPolicy/{}", object.name_any())));
        let claims = api::<PersistentVolumeClaim>(self.client, self.namespace).list(&labelled).await.unwrap();
        found.extend(claims.iter().map(|object| format!("PersistentVolumeClaim/{}", object.name_any())));
        let pods = api::<Pod>(self.client, self.namespace).list(&labelled).await.unwrap();
        found.extend(pods.iter().map(|object| format!("Pod/{}", object.name_any())));
        found
    }

    /// Waits until an Event speaks of a workspace.
    async fn told(&self, name: &str, reason: &str) {
        eventually(&format!("an Event {reason} of {name}"), async || {
            let events = api::<Event>(self.client, self.namespace).list(&ListParams::default()).await.unwrap();
            let is_it = |event: &Event| {
                event.reason.as_deref() == Some(reason)
                    && event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(name)
            };
            events.iter().any(is_it).then_some(())
        })
        .await;
    }
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

fn message(status: &WorkspaceStatus) -> &str {
    &status.conditions[0].message
}
