//! Authorization and quota of workspaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who decides who may reach a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorizationMode {
    /// Its owner reaches it, and nobody else.
    #[default]
    Owner,
    /// Its owner reaches it, and whom Kubernetes' RBAC allows the verb on `workspaces`, or `create` on
    /// `workspaces/exec`: subject `portcullis:ENDPOINT:USER`, with the user's id as in `whoami`.
    Kubernetes,
}

/// The workspaces that agents make.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceLimits {
    /// How many one user may have, stopped ones too.
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
