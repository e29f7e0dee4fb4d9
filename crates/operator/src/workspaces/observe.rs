//! The observations of one workspace.

use crate::stores::{Guarded, Stores, WorkspaceStores};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Event, Secret},
};
use kube::{ResourceExt as _, core::DynamicObject};
use portcullis_api::{Workspace, WorkspaceTemplateSpec};
use portcullis_plan::workspace::{
    CONTAINER, Live, POD_REVISION_ANNOTATION, PodRevision, STARTED_AT_ANNOTATION, SecretAccess, Secrets,
    WorkspaceInputs, claim_name, object_name, pod_name,
};
use std::sync::Arc;

/// The observations of one workspace.
pub(super) struct WorkspaceObservation {
    template: Option<WorkspaceTemplateSpec>,
    has_endpoint: bool,
    beyond_quota: Option<u32>,
    secrets: Secrets,
    live: Option<Live>,
    /// Its pod.
    pub pod: Option<Arc<DynamicObject>>,
    /// Its PersistentVolumeClaim.
    pub claim: Option<Arc<DynamicObject>>,
    /// The last refusal of its pod: when and why.
    refusal: Option<(Timestamp, String)>,
    /// Why there is no volume for it.
    pub volume_failure: Option<String>,
}

impl WorkspaceObservation {
    pub(super) fn of(stores: &Stores, workspace: &Workspace) -> Self {
        let (namespace, name) = (workspace.namespace().unwrap_or_default(), workspace.name_any());
        let its = &stores.workspaces;
        let template = its.templates.get(&namespace, &workspace.spec.template_ref.name);
        let endpoint = stores.endpoints.get(&namespace, &workspace.spec.endpoint_ref.name);
        let quota = endpoint.as_ref().and_then(|endpoint| {
            let endpoint = endpoint.0.as_ref().ok()?;
            Some(endpoint.spec.workspaces.max_per_user)
        });
        let pod = its.pods.get(&namespace, &pod_name(&name));
        let set = its.objects.get::<StatefulSet>(&namespace, &object_name(&name));
        let set_uid = set.as_ref().and_then(|set| set.uid());
        let claim = its.claims.get(&namespace, &claim_name(&name));
        let claim_uid = claim.as_ref().and_then(|claim| claim.uid());
        let template = template.and_then(|template| Some(template.0.as_ref().ok()?.spec.clone()));
        let live = set.map(|set| live(&set, pod.as_deref()));
        Self {
            secrets: secrets(stores, &namespace, template.as_ref(), live.as_ref()),
            template,
            has_endpoint: endpoint.is_some(),
            beyond_quota: quota.filter(|most| older(its, workspace) >= usize::try_from(*most).unwrap_or(usize::MAX)),
            live,
            pod,
            claim,
            refusal: set_uid.and_then(|uid| newest(&its.refusals.group(&namespace, &uid))),
            volume_failure: claim_uid
                .and_then(|uid| newest(&its.volume_failures.group(&namespace, &uid)))
                .map(|(_, message)| message),
        }
    }

    pub(super) fn inputs<'a>(
        &'a self,
        workspace: &'a Workspace,
        stores: &'a WorkspaceStores,
        now: Timestamp,
    ) -> WorkspaceInputs<'a> {
        WorkspaceInputs {
            workspace,
            template: self.template.as_ref(),
            has_endpoint: self.has_endpoint,
            beyond_quota: self.beyond_quota,
            secrets: &self.secrets,
            live: self.live.as_ref(),
            agent_image: &stores.agent_image,
            pull_secrets: &stores.pull_secrets,
            internal: &stores.internal,
            now,
        }
    }

    /// Why its pod was refused, unless that was before the last start.
    pub(super) fn refusal_since(&self, start: Option<Timestamp>) -> Option<&str> {
        let start = start?.as_second();
        self.refusal.as_ref().filter(|(at, _)| at.as_second() >= start).map(|(_, message)| message.as_str())
    }
}

/// The access to the Secrets that the template and the pod revision name.
fn secrets(stores: &Stores, namespace: &str, template: Option<&WorkspaceTemplateSpec>, live: Option<&Live>) -> Secrets {
    let of_template = template.into_iter().flat_map(|template| &template.pod.env);
    let of_template = of_template.filter_map(|variable| Some(variable.secret_key_ref.as_ref()?.name.as_str()));
    let of_recipe = live.and_then(|live| live.pod_revision.as_ref()).into_iter().flat_map(PodRevision::secrets);
    let access = |name: &str| {
        // The operator's own Secrets are recognised without the label of workspaces.
        let managed = stores.objects.get::<Secret>(namespace, name);
        let shared = stores.workspaces.shared_secrets.get(namespace, name);
        let managed = managed.and_then(|secret| SecretAccess::of(&secret.metadata));
        managed.or_else(|| shared.and_then(|secret| SecretAccess::of(&secret.metadata)))
    };
    of_template.chain(of_recipe).filter_map(|name| Some((name.to_owned(), access(name)?))).collect()
}

/// The number of older workspaces of the same owner at the same endpoint.
fn older(stores: &WorkspaceStores, workspace: &Workspace) -> usize {
    let age = |workspace: &Workspace| (workspace.creation_timestamp(), workspace.name_any());
    let own = age(workspace);
    let is_older = |other: &Guarded<Workspace>| {
        other.0.as_ref().is_ok_and(|other| {
            other.spec.endpoint_ref == workspace.spec.endpoint_ref
                && other.metadata.deletion_timestamp.is_none()
                && age(other) < own
        })
    };
    let namespace = workspace.namespace().unwrap_or_default();
    let owned = stores.all.group(&namespace, &workspace.spec.owner.id);
    owned.iter().filter(|other| is_older(other)).count()
}

fn live(set: &DynamicObject, pod: Option<&DynamicObject>) -> Live {
    let annotation = |name: &str| set.annotations().get(name);
    let started_at: Option<Timestamp> = annotation(STARTED_AT_ANNOTATION).and_then(|time| time.parse().ok());
    let claim = &set.data["spec"]["volumeClaimTemplates"][0]["spec"];
    let size = claim["resources"]["requests"]["storage"].as_str();
    let containers = pod.and_then(|pod| pod.data["status"]["containerStatuses"].as_array());
    let is_up =
        |container: &&serde_json::Value| container["name"] == CONTAINER && container["state"]["running"].is_object();
    Live {
        pod_revision: annotation(POD_REVISION_ANNOTATION)
            .and_then(|pod_revision| serde_json::from_str(pod_revision).ok()),
        // Scaling by another manager is not a start.
        scaled_up: started_at.is_some() && set.data["spec"]["replicas"].as_i64().is_some_and(|count| count > 0),
        started_at,
        running: containers.into_iter().flatten().any(|container| is_up(&container)),
        volume: size.map(|size| (size.to_owned(), claim["storageClassName"].as_str().map(ToOwned::to_owned))),
    }
}

fn newest(events: &[Arc<Event>]) -> Option<(Timestamp, String)> {
    let at = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        series.or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))
    };
    let dated = events.iter().filter_map(|event| Some((at(event)?, event.message.clone()?)));
    dated.max_by_key(|(at, _)| *at)
}
