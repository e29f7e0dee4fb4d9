//! The plan of one workspace: (Workspace, its template, its pod revision, facts, time) -> its StatefulSet and
//! NetworkPolicy, and why it cannot start. Pure, like the plan of an endpoint.
//!
//! A plan never restarts a running workspace: while its container runs, the plan uses the [`PodRevision`] that the
//! workspace was started with, which is in an annotation of its StatefulSet. Otherwise the plan follows the template.

mod network_policy;
mod pod_revision;
mod secrets;
mod stateful_set;
#[cfg(test)]
mod tests;

use crate::{MANAGED_BY, PlanError, PlannedObject};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource as _, ResourceExt as _};
pub use pod_revision::{Layout, PodRevision};
use portcullis_api::{
    Workspace, WorkspaceTemplateSpec,
    labels::{WORKSPACE_LABEL, WORKSPACE_OF_LABEL},
    parameters::Listed,
    workspace::WorkspaceSpec,
};
use portcullis_core::quantity::Span;
pub use secrets::{SecretAccess, SecretRefusal, Secrets};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the container that runs commands.
pub const CONTAINER: &str = "workspace";
/// The name of the init container that installs the workspace agent.
pub const INSTALLER: &str = "install-agent";
/// Annotation of a StatefulSet: its [`PodRevision`], as JSON.
pub const POD_REVISION_ANNOTATION: &str = "portcullis.dev/recipe";
/// Annotation of a StatefulSet that is scaled up: when it was scaled up (RFC 3339).
pub const STARTED_AT_ANNOTATION: &str = "portcullis.dev/started-at";

/// The name of a workspace's StatefulSet and NetworkPolicy.
#[must_use]
pub fn object_name(workspace: &str) -> String {
    format!("workspace-{workspace}")
}

/// The name of a workspace's pod.
#[must_use]
pub fn pod_name(workspace: &str) -> String {
    format!("workspace-{workspace}-0")
}

/// The name of a workspace's PersistentVolumeClaim.
#[must_use]
pub fn claim_name(workspace: &str) -> String {
    format!("{}-workspace-{workspace}-0", stateful_set::HOME)
}

/// Everything that the plan of a workspace depends on.
#[derive(Clone, Copy, Debug)]
pub struct WorkspaceInputs<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The template that `templateRef` names, if it exists.
    pub template: Option<&'a WorkspaceTemplateSpec>,
    /// Whether its endpoint exists.
    pub has_endpoint: bool,
    /// The owner's quota at the endpoint, if older workspaces exhaust it.
    pub beyond_quota: Option<u32>,
    /// The access to the Secrets that its template and its pod revision name.
    pub secrets: &'a Secrets,
    /// The state of its StatefulSet; `None` if it does not exist.
    pub live: Option<&'a Live>,
    /// The image with the workspace agent: that of the servers, or one with the agent only.
    pub agent_image: &'a str,
    /// The Secrets with registry credentials for that image, in the namespace of the workspace.
    pub pull_secrets: &'a BTreeSet<String>,
    /// The cluster's own networks with public addresses.
    pub internal: &'a [IpNet],
    /// The current time.
    pub now: Timestamp,
}

/// The state of a workspace's StatefulSet and pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// The pod revision; `None` if the annotation cannot be read.
    pub pod_revision: Option<PodRevision>,
    /// Whether the StatefulSet is scaled to one replica.
    pub scaled_up: bool,
    /// When it was scaled up.
    pub started_at: Option<Timestamp>,
    /// Whether the pod's main container runs.
    pub running: bool,
    /// Size and StorageClass of the volume, which are immutable.
    pub volume: Option<(String, Option<String>)>,
}

/// Why a workspace cannot be started or reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartBlocker {
    /// The template does not exist.
    #[error(
        "template {0:?} no longer exists; create a new workspace from another template, or ask the platform's engineers to restore it"
    )]
    TemplateNotFound(String),
    /// The parameters are invalid for the template.
    #[error("{0}")]
    InvalidParameters(String),
    /// The owner's quota is exhausted.
    #[error(
        "its owner has more than {0} workspaces, the maximum of the endpoint, and this is one of the newest; delete one that is no longer needed"
    )]
    QuotaExceeded(u32),
    /// The endpoint does not exist.
    #[error(
        "there is no McpEndpoint {0:?} in this namespace, so the workspace cannot be reached; create it again, or delete the workspace"
    )]
    EndpointNotFound(String),
    /// The template reads a Secret that workspaces may not read.
    #[error(transparent)]
    SecretRefused(SecretRefusal),
}

/// The desired objects and state of a workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkspacePlan {
    /// The desired objects, in the order of application. Objects that are missing here must not be deleted: a workspace
    /// that was never started has none, and one that cannot be planned keeps its objects.
    pub objects: Vec<PlannedObject>,
    /// Whether the workspace should have a pod.
    pub up: bool,
    /// Since when the workspace should have a pod.
    pub started_at: Option<Timestamp>,
    /// Why the workspace cannot be started or reached.
    pub blocker: Option<StartBlocker>,
    /// Why the next start of a running workspace would be refused.
    pub next_start: Option<SecretRefusal>,
    /// Whether the next start will use another pod revision.
    pub outdated: bool,
    /// The path of the home folder.
    pub home: Option<String>,
    /// When the workspace will be stopped if it stays idle.
    pub idle_at: Option<Timestamp>,
    /// When the workspace will be deleted because of its age.
    pub expires_at: Option<Timestamp>,
}

/// Plans one workspace.
pub fn plan(inputs: &WorkspaceInputs<'_>) -> Result<WorkspacePlan, PlanError> {
    let WorkspaceInputs { workspace, template, now, .. } = *inputs;
    let spec = &workspace.spec;
    let live = inputs.live.cloned().unwrap_or_default();
    let fresh = fresh_pod_revision(inputs);
    // A new pod reads its Secrets again, by the pod revision of the last start unless the template gives a usable one.
    let may_restart =
        live.running || fresh.is_ok() || live.pod_revision.as_ref().is_none_or(|kept| allowed(inputs, kept).is_ok());
    let up = spec.running && (start_blocker(inputs, &fresh).is_none() || live.scaled_up && may_restart);
    let next_start = match &fresh {
        Err(StartBlocker::SecretRefused(refusal)) if up => Some(refusal.clone()),
        _ => None,
    };
    let blocker = match start_blocker(inputs, &fresh) {
        // A running workspace keeps running, but its status should report that it cannot be reached.
        Some(blocker @ StartBlocker::EndpointNotFound(_)) => Some(blocker),
        other => other.filter(|_| spec.running && !up),
    };

    let kept = live.pod_revision.clone().map(|pod_revision| match template {
        Some(template) => pod_revision.following(template),
        None => pod_revision,
    });
    let holds = live.scaled_up && live.running || !up;
    let outdated = up && holds && kept.as_ref().is_some_and(|kept| is_outdated(kept, &fresh));
    let pod_revision = if holds { kept.or_else(|| fresh.ok()) } else { fresh.ok().or(kept) };
    // A workspace that was never started has nothing to stop.
    let pod_revision = pod_revision.filter(|_| up || inputs.live.is_some());

    let started_at = up.then(|| live.started_at.filter(|_| live.scaled_up).unwrap_or(now));
    let mut objects = Vec::new();
    if let Some(pod_revision) = &pod_revision {
        // The policy comes first, so that no packet can leave before it is in force.
        objects.push(PlannedObject::derived(&network_policy::network_policy(
            workspace,
            pod_revision,
            inputs.internal,
        ))?);
        let set = stateful_set::stateful_set(workspace, pod_revision, live.volume.as_ref(), started_at)?;
        objects.push(PlannedObject::derived(&set)?);
    }
    let times = pod_revision.as_ref().map(|pod_revision| (pod_revision.idle_stop, pod_revision.time_to_live));
    let (idle_stop, time_to_live) =
        times.or_else(|| template.map(|template| (template.idle_stop, template.time_to_live))).unwrap_or_default();
    let last_used = started_at.max(workspace.status.as_ref().and_then(|status| status.last_activity));
    let born = workspace.creation_timestamp().map(|time| time.0);
    let home = pod_revision.as_ref().map(|pod_revision| pod_revision.storage.mount_path.clone());
    Ok(WorkspacePlan {
        objects,
        up,
        started_at,
        blocker,
        next_start,
        outdated,
        home: home.or_else(|| template.map(|template| template.storage.mount_path.clone())),
        idle_at: last_used.filter(|_| up).zip(idle_stop).map(after),
        expires_at: born.zip(time_to_live).map(after),
    })
}

fn after((time, span): (Timestamp, Span)) -> Timestamp {
    super::client_secret::after(time, span)
}

/// The pod revision of the workspace from the current template.
fn fresh_pod_revision(inputs: &WorkspaceInputs<'_>) -> Result<PodRevision, StartBlocker> {
    let spec = &inputs.workspace.spec;
    let template = inputs.template.ok_or_else(|| StartBlocker::TemplateNotFound(spec.template_ref.name.clone()))?;
    let pod_revision = PodRevision::new(template, &spec.parameters, inputs.agent_image, inputs.pull_secrets)
        .map_err(|problems| StartBlocker::InvalidParameters(Listed(&problems).to_string()))?;
    allowed(inputs, &pod_revision)?;
    Ok(pod_revision)
}

/// Whether the workspace may read the Secrets of a pod revision.
fn allowed(inputs: &WorkspaceInputs<'_>, pod_revision: &PodRevision) -> Result<(), StartBlocker> {
    let namespace = inputs.workspace.namespace().unwrap_or_default();
    secrets::refusal(pod_revision, inputs.secrets, &namespace)
        .map_or(Ok(()), |refusal| Err(StartBlocker::SecretRefused(refusal)))
}

/// Why the workspace cannot be started now.
fn start_blocker(inputs: &WorkspaceInputs<'_>, fresh: &Result<PodRevision, StartBlocker>) -> Option<StartBlocker> {
    let WorkspaceSpec { endpoint_ref, .. } = &inputs.workspace.spec;
    if !inputs.has_endpoint {
        return Some(StartBlocker::EndpointNotFound(endpoint_ref.name.clone()));
    }
    fresh.as_ref().err().cloned().or_else(|| inputs.beyond_quota.map(StartBlocker::QuotaExceeded))
}

/// Whether the next start will use another pod revision. A deleted template does not make a workspace outdated.
fn is_outdated(kept: &PodRevision, fresh: &Result<PodRevision, StartBlocker>) -> bool {
    match fresh {
        Ok(fresh) => !kept.makes_the_same_pod_as(fresh),
        Err(blocker) => matches!(blocker, StartBlocker::InvalidParameters(_)),
    }
}

fn metadata(workspace: &Workspace) -> ObjectMeta {
    ObjectMeta {
        name: Some(object_name(&workspace.name_any())),
        namespace: workspace.namespace(),
        labels: Some(labels(workspace)),
        owner_references: workspace
            .controller_owner_ref(&())
            .map(|reference| vec![OwnerReference { block_owner_deletion: Some(true), ..reference }]),
        ..ObjectMeta::default()
    }
}

fn labels(workspace: &Workspace) -> BTreeMap<String, String> {
    let mut labels = selector_labels(workspace);
    labels.insert(WORKSPACE_OF_LABEL.to_owned(), workspace.spec.endpoint_ref.name.clone());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    labels
}

/// The labels that select the workspace's pod. They never change, since a StatefulSet's selector is immutable.
fn selector_labels(workspace: &Workspace) -> BTreeMap<String, String> {
    [(WORKSPACE_LABEL.to_owned(), workspace.name_any())].into()
}

fn selector(workspace: &Workspace) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(workspace)), match_expressions: None }
}
