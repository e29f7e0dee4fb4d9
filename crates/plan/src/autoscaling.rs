//! The HorizontalPodAutoscaler of the servers.

use crate::metadata::{Component, Owner};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

/// The autoscaler; `None` without `spec.deployment.autoscaling`.
pub(super) fn autoscaler(owner: &Owner<'_>) -> Option<HorizontalPodAutoscaler> {
    let wanted = owner.endpoint().spec.deployment.autoscaling.as_ref()?;
    Some(HorizontalPodAutoscaler {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: owner.name().to_owned(),
            },
            min_replicas: Some(wanted.min),
            max_replicas: wanted.max,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(wanted.target_cpu),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        status: None,
    })
}
