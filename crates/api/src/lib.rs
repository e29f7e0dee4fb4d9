//! What users write: the custom resources of `portcullis.dev/v1alpha1`, after the Kubernetes API conventions.
//!
//! Depends on nothing else in this crate but `nearest`. Every rule that can be checked at admission is a CEL rule beside
//! the field it guards; `portcullis dev` runs the same rules.

#![expect(unreachable_pub, reason = "the schema derive of kube makes public items inside functions")]

pub mod account;
pub mod client;
pub mod condition;
pub mod crds;
pub mod endpoint;
pub mod exposure;
pub mod faults;
pub mod grant;
mod guarded;
pub mod labels;
pub mod parameters;
mod rules;
mod structural;
pub mod template;
pub mod tools;
pub mod user;
pub mod validation;
pub mod version;
mod violation;
pub mod workspace;

pub use account::{OAuthAccount, OAuthAccountSpec};
pub use client::{OAuthClient, OAuthClientSpec, OAuthClientStatus};
pub use endpoint::{McpEndpoint, McpEndpointSpec, McpEndpointStatus};
pub use grant::{OAuthGrant, OAuthGrantSpec};
pub use guarded::{Guarded, InvalidObject};
pub use portcullis_core::preset::{self, Preset};
pub use template::{WorkspaceTemplate, WorkspaceTemplateSpec, WorkspaceTemplateStatus};
pub use user::{OAuthUser, OAuthUserSpec, OAuthUserStatus};
pub use workspace::{Workspace, WorkspaceSpec, WorkspaceStatus};

/// The API group of every kind here.
pub const GROUP: &str = "portcullis.dev";
/// The only version so far.
pub const VERSION: &str = "v1alpha1";
