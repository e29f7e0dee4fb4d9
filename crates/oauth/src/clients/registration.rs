//! `POST /register`: dynamic client registration (RFC 7591), if the endpoint's administrator enables it.
//!
//! Anyone can register, so a registration is worth little: the client is public and unverified, registrations are
//! limited in rate and number, and each expires, is deleted when others need the capacity (`capacity`), and is visible as
//! an `OAuthClient`. The client cannot change or delete it: there is no management protocol (RFC 7592), so no
//! registration access token is issued.

use crate::clients::{
    MAX_NAME, callbacks,
    capacity::{self, CapacityError},
};
use crate::{
    AuthorizationServer,
    client::{ClientError, NewRegistration},
};
use http::StatusCode;
use jiff::Timestamp;
use portcullis_core::{Scope, authorization::DynamicRegistration, json, names, scope};
use portcullis_telemetry::audit::{Event, RequestContext};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    time::Duration,
};

/// The maximum size of a request, in bytes.
pub const MAX_BODY: usize = 16 << 10;
/// The timeout of a registration that waits for earlier ones.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The supported metadata (RFC 7591 §2). Others are omitted from the response, which tells the client.
#[derive(Deserialize)]
struct Metadata {
    client_name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
}

/// The response (RFC 7591 §3.2.1): the registered metadata.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The id of the new client.
    pub client_id: String,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    /// The redirect URIs.
    pub redirect_uris: Vec<String>,
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
    token_endpoint_auth_method: &'static str,
    scope: String,
}

/// Why a registration is refused (RFC 7591 §3.2.2).
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The body is not a JSON object of client metadata.
    #[error("send the client's metadata as a JSON object (application/json)")]
    NotJson,
    /// A redirect URI is invalid.
    #[error("{0}")]
    RedirectUri(String),
    /// Other metadata is invalid.
    #[error("{0}")]
    Metadata(String),
    /// The maximum number of registrations is reached, and none of them can be deleted.
    #[error(
        "the limit of {0} registered clients is reached, and each is in use or was registered in the last ten minutes; try again later, or ask an administrator to raise spec.clients.dynamicRegistration.maxClients"
    )]
    Full(u32),
    /// The network has used up its share.
    #[error(
        "this network registered {0} clients in the last ten minutes that no user has approved, the limit for a network; approve one of them, or try again in ten minutes"
    )]
    Share(usize),
    /// Too many registrations are in progress.
    #[error("too many clients are registering at the moment; try again shortly")]
    Busy,
    /// The store of registrations cannot be reached.
    #[error(transparent)]
    Store(ClientError),
}

impl RegistrationError {
    /// The error code (RFC 7591 §3.2.2).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson | Self::Metadata(_) => "invalid_client_metadata",
            Self::RedirectUri(_) => "invalid_redirect_uri",
            Self::Full(_) | Self::Share(_) | Self::Busy | Self::Store(_) => "temporarily_unavailable",
        }
    }

    /// The HTTP status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotJson | Self::RedirectUri(_) | Self::Metadata(_) => StatusCode::BAD_REQUEST,
            Self::Share(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Full(_) | Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The origin of a registration.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    /// The request, for audit events.
    pub from: &'a RequestContext,
    /// The network of the client: an IPv4 address or an IPv6 /64.
    pub network: IpAddr,
}

impl AuthorizationServer {
    /// Registers the client that `body` describes, and deletes registrations if the maximum is reached.
    ///
    /// Each server registers one client at a time, so the maximum, and the share of a network, can be exceeded by one
    /// per server.
    pub async fn register(
        &self,
        body: &[u8],
        applicant: Applicant<'_>,
        policy: &DynamicRegistration,
        now: Timestamp,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<Registered, RegistrationError> {
        let sources = self.registrar.sources(applicant.network);
        let new = NewRegistration { source: sources.first().cloned(), ..check(body, policy, now)? };
        let turn = tokio::time::timeout(LOCK_TIMEOUT, self.registering.lock()).await;
        let _turn = turn.map_err(|_| RegistrationError::Busy)?;
        let held = self.registrations.held(now);
        let approved = if capacity::is_free(&held, &sources, policy.max_clients) {
            HashSet::new()
        } else {
            self.grants.clients(now)
        };
        let gone = capacity::make(&held, &approved, &sources, policy.max_clients, now).map_err(|why| match why {
            CapacityError::Full => RegistrationError::Full(policy.max_clients),
            CapacityError::Share(share) => RegistrationError::Share(share),
        })?;
        for client_id in &gone {
            self.registrations.remove(client_id).await.map_err(RegistrationError::Store)?;
            Event::ClientEvicted { from: applicant.from, client_id }.emit();
        }
        let client_id = self.registrar.new_id(rng);
        let client = self.registrations.create(&client_id, new.clone()).await.map_err(RegistrationError::Store)?;
        Ok(Registered {
            client_id: client.verifier.client_id.clone(),
            client_id_issued_at: now.as_second(),
            client_name: new.name,
            redirect_uris: new.redirect_uris,
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            token_endpoint_auth_method: "none",
            scope: scope::join(&new.scopes),
        })
    }
}

fn check(body: &[u8], policy: &DynamicRegistration, now: Timestamp) -> Result<NewRegistration, RegistrationError> {
    let wrong = |text: &str| RegistrationError::Metadata(text.to_owned());
    let metadata: Metadata = json::object(body).map_err(|_| match json::lone_surrogate(body) {
        Some(why) => RegistrationError::Metadata(format!("the metadata is not text: {why}")),
        None => RegistrationError::NotJson,
    })?;
    let redirect_uris = metadata.redirect_uris.unwrap_or_default();
    callbacks::check(&redirect_uris).map_err(RegistrationError::RedirectUri)?;
    let grants = metadata.grant_types.unwrap_or_default();
    // Other grant types are for other servers: the response lists the registered ones (RFC 7591 §3.2.1).
    let supported = |grant: &String| matches!(grant.as_str(), "authorization_code" | "refresh_token");
    if !grants.is_empty() && !grants.iter().any(supported) {
        return Err(wrong("grant_types must have authorization_code, the grant that can be registered here"));
    }
    let responses = metadata.response_types.unwrap_or_default();
    if !responses.is_empty() && !responses.iter().any(|one| one == "code") {
        return Err(wrong("response_types must have code, the type that can be registered here"));
    }
    // A request for a secret, which is also the default, is answered with `none`, as RFC 7591 §3.2.1 allows.
    let method = metadata.token_endpoint_auth_method.as_deref();
    if !matches!(method, None | Some("none" | "client_secret_basic" | "client_secret_post")) {
        return Err(wrong("token_endpoint_auth_method must be none: clients that register themselves are public"));
    }
    let name = metadata.client_name.as_deref().map(|name| names::check(name, MAX_NAME)).transpose();
    let name = name.map_err(|why| RegistrationError::Metadata(format!("client_name {why}")))?.flatten();
    // The requested scope is not a limit: the client will request more when a tool needs it, and the user decides each
    // time.
    let scopes: BTreeSet<Scope> = policy.scopes.iter().copied().collect();
    let expires_at = now.checked_add(policy.lifetime.as_duration()).unwrap_or(Timestamp::MAX);
    Ok(NewRegistration { name, redirect_uris, scopes, expires_at, source: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn any_metadata() -> impl Strategy<Value = Value> {
        let base = json!({"client_name": "Cursor", "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback"]});
        let names =
            &["client_name", "redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method", "scope"];
        portcullis_testing::strategies::changed(base, names)
    }

    fn policy() -> DynamicRegistration {
        serde_json::from_value(json!({"scopes": ["files:read"]})).unwrap()
    }

    proptest! {
        #[test]
        fn whatever_asks_to_be_registered_gets_no_more_than_the_policy_gives(metadata in any_metadata()) {
            if let Ok(new) = check(metadata.to_string().as_bytes(), &policy(), Timestamp::UNIX_EPOCH) {
                prop_assert_eq!(new.scopes, BTreeSet::from([Scope::FilesRead]));
                prop_assert!(!new.redirect_uris.is_empty());
                prop_assert!(new.redirect_uris.iter().all(|uri| crate::redirect::check(uri).is_ok()));
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(check(&body, &policy(), Timestamp::UNIX_EPOCH).is_err());
        }
    }
}
