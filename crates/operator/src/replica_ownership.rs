//! Transfers the ownership of the field `replicas` to an autoscaler, once: when `spec.deployment.replicas` is replaced by
//! `autoscaling`.
//!
//! With server-side apply, a manager that gives up a field without another owner removes it, and a Deployment without
//! `replicas` has one. So before the operator gives it up, another field manager takes the current number. The
//! autoscaler's first change makes the autoscaler the owner.

use crate::{
    apply::{ApplyError, describe},
    metrics::Verb,
    reconcile::EndpointReconcile,
};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api,
    api::{ApiResource, Patch, PatchParams},
    core::DynamicObject,
};
use portcullis_plan::PlannedObject;
use serde_json::json;

const SCALE_MANAGER: &str = "portcullis-scale";

impl EndpointReconcile<'_> {
    /// Must precede the apply of the Deployment.
    pub(super) async fn transfer_replicas(&self, planned: &PlannedObject) -> Result<(), ApplyError> {
        let objects = &self.context.stores.objects;
        let is_scaled = objects.get::<HorizontalPodAutoscaler>(self.namespace, self.name).is_some();
        let gives_up = planned.kind() == "Deployment" && planned.object.data["spec"].get("replicas").is_none();
        if is_scaled || !gives_up {
            return Ok(());
        }
        let Some(live) = objects.get::<Deployment>(self.namespace, self.name) else { return Ok(()) };
        let Some(replicas) = live.data["spec"]["replicas"].as_i64() else { return Ok(()) };
        let patch = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "uid": live.metadata.uid},
            "spec": {"replicas": replicas},
        });
        // The answer is not read: a type of its own would have code for all that a pod can be.
        let kind = ApiResource::erase::<Deployment>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.context.client.clone(), self.namespace, &kind);
        match api.patch(self.name, &PatchParams::apply(SCALE_MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(_) => {
                self.context.metrics.wrote("Deployment", Verb::Apply);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(ApplyError::Stale(describe(&planned.object))),
            Err(source) => {
                Err(ApplyError::Api { object: describe(&planned.object), what: "written", source: Box::new(source) })
            }
        }
    }
}
