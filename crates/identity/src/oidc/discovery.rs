//! The provider's metadata (OpenID Connect Discovery 1.0 §4): fetched on demand, cached, and used beyond its lifetime
//! if the provider cannot be reached.

use crate::error::SignInError;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::report::chain;
use portcullis_outbound::issuer::{IssuerClient, IssuerError, IssuerMetadata, WellKnown};
use serde::Deserialize;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How long the metadata is used without another fetch.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// The maximum age of the metadata before a browser is redirected to the provider. During an outage, the user then sees
/// an error page of the endpoint instead of the browser's.
const ANSWERED: SignedDuration = SignedDuration::from_secs(10);
/// How long no other fetch follows a failed one: many sign-ins may be waiting for the same response.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The scope for a refresh token that outlives the provider's session (OpenID Connect Core §11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// The members of the metadata that are used here.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Whether the scope `offline_access` may be requested: it is listed, or the metadata lists no scopes.
    pub(super) fn gives_offline_access(&self) -> bool {
        self.scopes_supported.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope == OFFLINE_ACCESS))
    }

    /// Whether the client authenticates with HTTP Basic rather than in the body. Basic is the default.
    pub(super) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| {
            let has = |wanted: &str| methods.iter().any(|method| method == wanted);
            has("client_secret_basic") || !has("client_secret_post")
        })
    }
}

impl IssuerMetadata for Metadata {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn endpoints(&self) -> Vec<&str> {
        let endpoints = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        endpoints.into_iter().chain(&self.userinfo_endpoint).map(String::as_str).collect()
    }
}

/// Fetches and caches the metadata.
pub(super) struct Discovery {
    provider: String,
    issuer: IssuerClient,
    state: Mutex<State>,
    /// Held by the caller that fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    known: Option<(Arc<Metadata>, Timestamp)>,
    failed: Option<(Failure, Timestamp)>,
}

/// Why the metadata could not be fetched. Also returned to callers during the pause.
#[derive(Clone)]
pub(super) enum Failure {
    Unreachable(String),
    Misconfigured(String),
    Unexpected(String),
}

impl Discovery {
    pub(super) fn new(provider: String, issuer: IssuerClient) -> Self {
        Self { provider, issuer, state: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The metadata of the provider. Concurrent callers share one request.
    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, SignInError> {
        self.known_for(FRESH, now)
            .await
            .or_else(|(failure, old)| old.ok_or_else(|| failure.into_sign_in_error(&self.provider)))
    }

    /// The metadata of a provider that responds at present: a browser is about to be redirected to it.
    pub(super) async fn reachable(&self, now: Timestamp) -> Result<Arc<Metadata>, SignInError> {
        self.known_for(ANSWERED, now).await.or_else(|(failure, old)| match (failure, old) {
            (Failure::Misconfigured(_) | Failure::Unexpected(_), Some(old)) => Ok(old),
            (failure, _) => Err(failure.into_sign_in_error(&self.provider)),
        })
    }

    /// The cached metadata if it is younger than `fresh`, otherwise a new fetch. The error contains the older metadata,
    /// if any: a useful fallback, since the endpoints of a provider rarely change.
    async fn known_for(
        &self,
        fresh: SignedDuration,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, (Failure, Option<Arc<Metadata>>)> {
        if let Some(known) = self.fresh(fresh, now) {
            return Ok(known);
        }
        // Callers that waited use the result of the first one, or its failure.
        let _fetching = self.fetching.lock().await;
        if let Some(known) = self.fresh(fresh, now) {
            return Ok(known);
        }
        let paused = self.state().failed.clone().filter(|(_, since)| now.duration_since(*since) < PAUSE);
        let fetched = match paused {
            Some((failure, _)) => Err(failure),
            None => self.fetch().await.inspect_err(|failure| self.state().failed = Some((failure.clone(), now))),
        };
        let mut state = self.state();
        match fetched {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *state = State { known: Some((Arc::clone(&metadata), now)), failed: None };
                Ok(metadata)
            }
            Err(failure) => Err((failure, state.known.as_ref().map(|(known, _)| Arc::clone(known)))),
        }
    }

    /// The cached metadata if it is younger than `fresh`.
    fn fresh(&self, fresh: SignedDuration, now: Timestamp) -> Option<Arc<Metadata>> {
        let state = self.state();
        let (known, since) = state.known.as_ref()?;
        (now.duration_since(*since) < fresh).then(|| Arc::clone(known))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Metadata, Failure> {
        let fetched = self.issuer.metadata(WellKnown::OpenId).await;
        fetched.map_err(|error| Failure::of(&self.provider, error))
    }
}

impl Failure {
    /// The failure for an error of the client.
    pub(super) fn of(provider: &str, error: IssuerError) -> Self {
        let what = match error {
            IssuerError::Request(error) => return Self::of_sign_in(&SignInError::unanswered(provider, error)),
            IssuerError::Response(error) => return Self::of_sign_in(&SignInError::unusable(provider, error)),
            error @ IssuerError::Url(_) => return Self::Unexpected(chain(&error)),
            IssuerError::NotFound { status, .. } => format!(
                "its issuerUrl has no /.well-known/openid-configuration ({status}); correct issuerUrl of this login in the McpEndpoint"
            ),
            IssuerError::OtherIssuer { .. } => {
                "its discovery document names another issuer; write issuerUrl of this login in the McpEndpoint exactly as in the document, including a slash at the end".to_owned()
            }
            IssuerError::Insecure => "one of its endpoints is not https".to_owned(),
        };
        Self::Misconfigured(what)
    }

    fn of_sign_in(error: &SignInError) -> Self {
        match error {
            SignInError::Unreachable { source, .. } => Self::Unreachable(chain(&**source)),
            other => Self::Unexpected(std::error::Error::source(other).map_or_else(|| other.to_string(), chain)),
        }
    }

    pub(super) fn into_sign_in_error(self, provider: &str) -> SignInError {
        match self {
            Self::Unreachable(cause) => SignInError::unreachable(provider, cause),
            Self::Misconfigured(what) => SignInError::Misconfigured { provider: provider.to_owned(), what },
            Self::Unexpected(cause) => SignInError::unexpected(provider, cause),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Misconfigured(why) | Self::Unexpected(why) => f.write_str(why),
        }
    }
}
