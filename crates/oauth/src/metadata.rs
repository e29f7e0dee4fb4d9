//! The metadata for clients: of the protected resource (RFC 9728), of the authorization server (RFC 8414), and its keys
//! (RFC 7517). It lists exactly what is served.

use crate::{clients::ALGORITHMS, pkce, workload};
use portcullis_config::{Clients, KeyError, OPERATOR_CLIENT_ID, ServerConfig, SigningKeys};
use portcullis_core::{PublicUrl, Scope, client::ClientType};
use serde_json::{Value, json};

pub use portcullis_core::endpoint_paths::{
    AUTHORIZE as AUTHORIZE_PATH, INTROSPECT as INTROSPECT_PATH, JWKS as JWKS_PATH, REGISTER as REGISTER_PATH,
    REVOKE as REVOKE_PATH, ROOT_RESOURCE_METADATA, TOKEN as TOKEN_PATH,
};

const PRIVATE_KEY_JWT: &str = "private_key_jwt";

/// The metadata of the protected resource at `url`: the URL of the endpoint, or an alias.
#[must_use]
pub fn protected_resource(config: &ServerConfig, url: &PublicUrl) -> Value {
    json!({
        "resource": url.resource(),
        "resource_name": config.endpoint,
        "authorization_servers": [config.issuer()],
        "scopes_supported": Scope::ALL,
        "bearer_methods_supported": ["header"],
    })
}

/// The metadata of the authorization server (RFC 8414 §2), with the additions of RFC 9207, PKCE and client metadata
/// documents.
///
/// There is no OpenID Connect discovery document: clients request this one first, and the other has required members
/// that an endpoint without ID tokens would have to make up.
#[must_use]
pub fn authorization_server(config: &ServerConfig, clients: &Clients) -> Value {
    let url = |path| config.url.issuer_url(path);
    let policy = &config.client_policy;
    let confidential = confidential_methods(config, clients);
    let methods =
        if public_clients(config, clients) { [&confidential[..], &["none"]].concat() } else { confidential.clone() };
    let mut document = json!({
        "issuer": config.url.issuer(),
        // RFC 8414 §2 lets it be omitted if no grant type uses it, but the official MCP clients reject metadata without
        // it.
        "authorization_endpoint": url(AUTHORIZE_PATH),
        "token_endpoint": url(TOKEN_PATH),
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": url(REVOKE_PATH),
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": url(INTROSPECT_PATH),
        "introspection_endpoint_auth_methods_supported": confidential,
        "jwks_uri": url(JWKS_PATH),
        "scopes_supported": Scope::ALL,
        "response_types_supported": [],
        "response_modes_supported": ["query"],
        "grant_types_supported": grant_types(config),
        "code_challenge_methods_supported": [pkce::METHOD],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": policy.metadata_documents.is_some(),
    });
    if confidential.contains(&PRIVATE_KEY_JWT) {
        for endpoint in ["token", "revocation", "introspection"] {
            document[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")] = json!(ALGORITHMS);
        }
    }
    // Without a login, no code is issued.
    if !config.login.is_empty() {
        document["response_types_supported"] = json!(["code"]);
    }
    if policy.dynamic_registration.is_some() {
        document["registration_endpoint"] = json!(url(REGISTER_PATH));
    }
    document
}

/// The authentication methods for confidential clients. Some clients use the first method of the list that they
/// support, so the list must not contain a method that no client of this endpoint can use.
fn confidential_methods(config: &ServerConfig, clients: &Clients) -> Vec<&'static str> {
    let sign = clients.clients.iter().any(|client| client.private_key_jwt.is_some());
    let signing: &[_] =
        if sign || config.client_policy.metadata_documents.is_some() { &[PRIVATE_KEY_JWT] } else { &[] };
    [&["client_secret_basic", "client_secret_post"], signing].concat()
}

/// Whether a client can be public. A confidential client that sees the method `none` may omit its credentials: the
/// official conformance suite does.
fn public_clients(config: &ServerConfig, clients: &Clients) -> bool {
    let policy = &config.client_policy;
    let configured = clients.clients.iter().filter(|client| client.client_id != OPERATOR_CLIENT_ID);
    policy.metadata_documents.is_some()
        || policy.dynamic_registration.is_some()
        || configured.into_iter().any(|client| client.client_type == ClientType::Public)
}

fn grant_types(config: &ServerConfig) -> Vec<&'static str> {
    let people: &[_] = if config.login.is_empty() { &[] } else { &["authorization_code", "refresh_token"] };
    let pods: &[_] = if config.workload_identity.is_empty() { &[] } else { &[workload::GRANT_TYPE] };
    [people, &["client_credentials"], pods].concat()
}

/// The public keys, as a JSON Web Key Set.
pub fn jwks(keys: &SigningKeys) -> Result<Value, KeyError> {
    let keys: Vec<Value> = keys.keys.iter().map(portcullis_config::SigningKey::public_jwk).collect::<Result<_, _>>()?;
    Ok(json!({"keys": keys}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client, config};
    use portcullis_config::ClientVerifier;
    use portcullis_core::authorization::{ClientPolicy, DynamicRegistration, MetadataDocuments};

    fn login() -> portcullis_core::login::Login {
        serde_json::from_value(json!({"name": "local", "passwords": {"secretRef": {"name": "users"}}})).unwrap()
    }

    #[test]
    fn the_document_lists_what_is_served_and_nothing_else() {
        let closed = config();
        let document = authorization_server(&closed, &Clients::default());
        let empty: [&str; 0] = [];
        assert_eq!(document["response_types_supported"], json!(empty), "nobody can sign in");
        assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(document.get("registration_endpoint"), None);
        let secrets = json!(["client_secret_basic", "client_secret_post"]);
        assert_eq!(document["token_endpoint_auth_methods_supported"], secrets);
        assert_eq!(document["introspection_endpoint_auth_methods_supported"], secrets);
        assert_eq!(document.get("token_endpoint_auth_signing_alg_values_supported"), None);
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
        let confidential = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
        let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
        let expected = json!({
            "issuer": "https://h.example.com/team",
            "authorization_endpoint": "https://h.example.com/team/authorize",
            "token_endpoint": "https://h.example.com/team/token",
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "revocation_endpoint": "https://h.example.com/team/revoke",
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "introspection_endpoint": "https://h.example.com/team/introspect",
            "introspection_endpoint_auth_methods_supported": confidential,
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
        assert_eq!(authorization_server(&open, &Clients::default()), expected);
    }

    #[test]
    fn methods_are_those_that_a_client_can_have() {
        use ClientType::{Confidential, Public};
        let methods = |config: &ServerConfig, clients: &[ClientVerifier]| {
            let document = authorization_server(config, &Clients { clients: clients.to_vec() });
            let listed = &document["token_endpoint_auth_methods_supported"];
            assert_eq!(listed, &document["revocation_endpoint_auth_methods_supported"]);
            let has = |method: &str| listed.as_array().unwrap().contains(&json!(method));
            let algorithms = document.get("token_endpoint_auth_signing_alg_values_supported").is_some();
            assert_eq!(algorithms, has(PRIVATE_KEY_JWT));
            (has(PRIVATE_KEY_JWT), has("none"))
        };
        let secret = client("agent", Confidential, &[], &[]);
        let keys = serde_json::from_value(json!({"jwksUri": "https://agent.example.com/jwks"})).unwrap();
        let signs = ClientVerifier { private_key_jwt: Some(keys), secrets: Vec::new(), ..secret.clone() };
        let app = client("app", Public, &[], &[]);
        for (clients, expected) in [
            (&[][..], (false, false)),
            (&[ClientVerifier::operator()], (false, false)),
            (std::slice::from_ref(&secret), (false, false)),
            (&[secret.clone(), signs], (true, false)),
            (&[app], (false, true)),
        ] {
            assert_eq!(methods(&config(), clients), expected, "{clients:?}");
        }
        for (policy, expected) in [
            (json!({"metadataDocuments": {"allowedHosts": ["claude.ai"]}}), (true, true)),
            (json!({"dynamicRegistration": {}}), (false, true)),
        ] {
            let client_policy = serde_json::from_value(policy).unwrap();
            assert_eq!(methods(&ServerConfig { client_policy, ..config() }, &[]), expected);
        }
    }
}
