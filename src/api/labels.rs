//! The labels by which operator and servers find what is theirs.

/// On every planned object and on grants, with the endpoint's name. Watches select by it.
pub const ENDPOINT_LABEL: &str = "portcullis.dev/endpoint";
/// On an `OAuthClient` that no person wrote: how it was registered.
pub const REGISTERED_LABEL: &str = "portcullis.dev/registered";
/// The value of [`REGISTERED_LABEL`] for a client that registered itself (RFC 7591).
pub const REGISTERED_DYNAMIC: &str = "dynamic";
