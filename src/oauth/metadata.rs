//! What clients discover: the protected resource (RFC 9728), the authorization server (RFC 8414) and its keys
//! (RFC 7517). Lists exactly what is served.

use super::{clients::ALGORITHMS, pkce, workload};
use crate::{
    api::Scope,
    config::{KeyError, ServerConfig, SigningKeys},
};
use serde_json::{Value, json};

/// How clients prove themselves.
const AUTH_METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
/// How those do that can keep a secret.
const CONFIDENTIAL_AUTH_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

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
/// The path of the registration endpoint, after the issuer.
pub const REGISTER_PATH: &str = "/register";
/// The path of the public keys, after the issuer.
pub const JWKS_PATH: &str = "/jwks.json";

/// The metadata of the protected resource.
#[must_use]
pub fn protected_resource(config: &ServerConfig) -> Value {
    json!({
        "resource": config.url.resource(),
        "resource_name": config.endpoint,
        "authorization_servers": [config.issuer()],
        "scopes_supported": Scope::ALL,
        "bearer_methods_supported": ["header"],
    })
}

/// The metadata of the authorization server (RFC 8414 §2), and what RFC 9207, PKCE and client metadata documents add.
///
/// There is no OpenID Connect discovery document: clients ask for this one first, and an endpoint that issues no ID
/// tokens would have to invent what the other requires.
#[must_use]
pub fn authorization_server(config: &ServerConfig) -> Value {
    let url = |path| config.url.issuer_url(path);
    let policy = &config.client_policy;
    let mut document = json!({
        "issuer": config.url.issuer(),
        // RFC 8414 §2 lets it be left out where no grant uses it, but the official MCP clients refuse to read on without.
        "authorization_endpoint": url(AUTHORIZE_PATH),
        "token_endpoint": url(TOKEN_PATH),
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint": url(REVOKE_PATH),
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint": url(INTROSPECT_PATH),
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL_AUTH_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "jwks_uri": url(JWKS_PATH),
        "scopes_supported": Scope::ALL,
        "response_types_supported": [],
        "response_modes_supported": ["query"],
        "grant_types_supported": grant_types(config),
        "code_challenge_methods_supported": [pkce::METHOD],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": policy.metadata_documents.is_some(),
    });
    // Where nobody can sign in, no code is given out.
    if !config.login.is_empty() {
        document["response_types_supported"] = json!(["code"]);
    }
    if policy.dynamic_registration.is_some() {
        document["registration_endpoint"] = json!(url(REGISTER_PATH));
    }
    document
}

fn grant_types(config: &ServerConfig) -> Vec<&'static str> {
    let people: &[_] = if config.login.is_empty() { &[] } else { &["authorization_code", "refresh_token"] };
    let pods: &[_] = if config.workload_identity.is_empty() { &[] } else { &[workload::GRANT_TYPE] };
    [people, &["client_credentials"], pods].concat()
}

/// The public keys.
pub fn jwks(keys: &SigningKeys) -> Result<Value, KeyError> {
    let keys: Vec<Value> = keys.keys.iter().map(crate::config::SigningKey::public_jwk).collect::<Result<_, _>>()?;
    Ok(json!({"keys": keys}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::authorization::{ClientPolicy, DynamicRegistration, MetadataDocuments},
        oauth::testing::config,
    };

    fn login() -> crate::api::login::Login {
        serde_json::from_value(json!({"name": "local", "passwords": {"secretRef": {"name": "users"}}})).unwrap()
    }

    #[test]
    fn the_document_lists_what_is_served_and_nothing_else() {
        let closed = config();
        let document = authorization_server(&closed);
        let empty: [&str; 0] = [];
        assert_eq!(document["response_types_supported"], json!(empty), "nobody can sign in");
        assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(document.get("registration_endpoint"), None);
        assert_eq!(document["client_id_metadata_document_supported"], false);

        let open = ServerConfig {
            login: vec![login()],
            client_policy: ClientPolicy {
                metadata_documents: Some(MetadataDocuments {
                    allowed_hosts: vec!["claude.ai".to_owned()],
                    scopes: Scope::ALL.to_vec(),
                }),
                dynamic_registration: Some(serde_json::from_value::<DynamicRegistration>(json!({})).unwrap()),
            },
            ..closed
        };
        let expected = json!({
            "issuer": "https://h.example.com/team",
            "authorization_endpoint": "https://h.example.com/team/authorize",
            "token_endpoint": "https://h.example.com/team/token",
            "token_endpoint_auth_methods_supported": AUTH_METHODS,
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "revocation_endpoint": "https://h.example.com/team/revoke",
            "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "introspection_endpoint": "https://h.example.com/team/introspect",
            "introspection_endpoint_auth_methods_supported": CONFIDENTIAL_AUTH_METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "registration_endpoint": "https://h.example.com/team/register",
            "jwks_uri": "https://h.example.com/team/jwks.json",
            "scopes_supported": Scope::ALL,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": true,
        });
        assert_eq!(authorization_server(&open), expected);
    }
}
