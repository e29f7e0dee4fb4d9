//! The labels by which operator and servers find what is theirs.

/// On every planned object and on grants, with the endpoint's name. Watches select by it.
pub const ENDPOINT_LABEL: &str = "portcullis.dev/endpoint";
/// On an `OAuthClient` that no person wrote: how it was registered.
pub const REGISTERED_LABEL: &str = "portcullis.dev/registered";
/// The value of [`REGISTERED_LABEL`] for a client that registered itself (RFC 7591).
pub const REGISTERED_DYNAMIC: &str = "dynamic";
/// On what a workspace is made of, with the workspace's name. Watches select by it.
pub const WORKSPACE_LABEL: &str = "portcullis.dev/workspace";
/// On a Secret that workspaces may read, with the value [`SHARED`].
pub const WORKSPACES_LABEL: &str = "portcullis.dev/workspaces";
/// The value of [`WORKSPACES_LABEL`] that allows it.
pub const SHARED: &str = "true";
/// Beside [`WORKSPACE_LABEL`], with the name of the workspace's endpoint. Not [`ENDPOINT_LABEL`]: what carries that is
/// the endpoint's own.
pub const WORKSPACE_OF_LABEL: &str = "portcullis.dev/workspace-of";
