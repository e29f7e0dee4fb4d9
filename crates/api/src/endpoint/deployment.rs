//! `spec.deployment`: replicas, resources and scaling of the servers.

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::util::intstr::IntOrString};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The Deployment of the servers.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
    .message("replicas and autoscaling exclude each other; remove autoscaling to set a number, as kubectl scale does, or change its min and max"))]
#[serde(rename_all = "camelCase")]
pub struct ServerDeployment {
    /// The number of servers. Default: 2, unless `autoscaling` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// CPU and memory of each server. Default: requests of 20m CPU and 32Mi memory, a limit of 128Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The number of servers that must be available while nodes are drained. Default: 1 if there is more than one
    /// replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// Scales the servers by their CPU usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// A PodDisruptionBudget.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// A number of servers, or a percentage such as `50%`.
    #[x_kube(validation = Rule::new("string(self).matches('^([0-9]{1,9}|(100|[0-9]{1,2})%)$')")
        .message("must be a number from 0 or a share such as 50%"))]
    pub min_available: IntOrString,
}

/// A HorizontalPodAutoscaler.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("min must not be above max"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// The minimum number of servers.
    #[schemars(range(min = 1, max = 100))]
    pub min: i32,
    /// The maximum number of servers.
    #[schemars(range(min = 1, max = 100))]
    pub max: i32,
    /// The target CPU usage, in percent of the request.
    #[serde(default = "Autoscaling::default_target_cpu")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu: i32,
}

impl Autoscaling {
    fn default_target_cpu() -> i32 {
        70
    }
}
