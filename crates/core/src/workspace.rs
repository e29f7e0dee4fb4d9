//! Authorization and quota of workspaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What decides about access to workspaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorizationMode {
    /// Only its owner has access.
    #[default]
    Owner,
    /// Its owner has access, and every user to whom Kubernetes RBAC allows the verb on `workspaces`, or `create` on
    /// `workspaces/exec`. The subject is `portcullis:ENDPOINT:USER`, with the user's id as in `whoami`.
    Kubernetes,
}

/// Quotas of workspaces.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceLimits {
    /// The maximum number of workspaces of a user, including stopped ones.
    #[serde(default = "WorkspaceLimits::default_max_per_user")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_per_user: u32,
}

impl WorkspaceLimits {
    fn default_max_per_user() -> u32 {
        5
    }
}

impl Default for WorkspaceLimits {
    fn default() -> Self {
        Self { max_per_user: Self::default_max_per_user() }
    }
}
