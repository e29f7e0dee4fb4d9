//! What clients discover: the protected resource (RFC 9728), the authorization server (RFC 8414) and its keys
//! (RFC 7517). Lists exactly what is served.

use crate::{
    api::Scope,
    config::{KeyError, ServerConfig, SigningKeys},
};
use serde_json::{Value, json};

/// Where RFC 9728 puts the metadata of a resource without a path: some clients look only there.
pub const ROOT_RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";
/// The path of the authorization endpoint, after the issuer.
pub const AUTHORIZE_PATH: &str = "/authorize";
/// The path of the token endpoint, after the issuer.
pub const TOKEN_PATH: &str = "/token";
/// The path of the revocation endpoint, after the issuer.
pub const REVOKE_PATH: &str = "/revoke";
/// The path of the introspection endpoint, after the issuer.
pub const INTROSPECT_PATH: &str = "/introspect";
/// The path of the public keys, after the issuer.
pub const JWKS_PATH: &str = "/jwks.json";

/// The metadata of the protected resource.
#[must_use]
pub fn protected_resource(config: &ServerConfig) -> Value {
    json!({
        "resource": config.url.resource(),
        "resource_name": config.endpoint,
        "authorization_servers": [config.url.issuer()],
        "scopes_supported": Scope::ALL,
        "bearer_methods_supported": ["header"],
    })
}

/// The metadata of the authorization server.
#[must_use]
pub fn authorization_server(config: &ServerConfig) -> Value {
    json!({
        "issuer": config.url.issuer(),
        // RFC 8414 §2 lets it be left out where no grant uses it, but the official MCP clients refuse to read on without.
        "authorization_endpoint": config.url.issuer_url(AUTHORIZE_PATH),
        "token_endpoint": config.url.issuer_url(TOKEN_PATH),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "jwks_uri": config.url.issuer_url(JWKS_PATH),
        "scopes_supported": Scope::ALL,
        // Required by RFC 8414 §2; empty since the authorization endpoint gives out nothing.
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
    })
}

/// The public keys.
pub fn jwks(keys: &SigningKeys) -> Result<Value, KeyError> {
    let keys: Vec<Value> = keys.keys.iter().map(crate::config::SigningKey::public_jwk).collect::<Result<_, _>>()?;
    Ok(json!({"keys": keys}))
}
