//! Access tokens of a stored sign-in: refreshed before they expire, by one process at a time.

use crate::{
    oauth::{TokenError, refresh},
    store::{Store, StoreError},
};
use portcullis_core::{PublicUrl, clock::Clock};
use portcullis_outbound::HttpClient;
use std::sync::Arc;

/// The access tokens for one endpoint.
#[derive(Clone)]
pub struct Access {
    url: PublicUrl,
    store: Store,
    http: HttpClient,
    clock: Arc<dyn Clock>,
}

/// The reason for a missing access token.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No user has signed in.
    #[error("there is no sign-in at {0}; run: portcullis login {0}")]
    NotSignedIn(String),
    /// The access has ended: it was revoked, or it has expired.
    #[error("the access to {0} has ended: it was revoked, or it has expired; run: portcullis login {0}")]
    Ended(String),
    /// The refresh failed for another reason, which may be temporary.
    #[error("the access token could not be refreshed")]
    Refresh(#[source] TokenError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccessError {
    /// Whether only a sign-in helps.
    #[must_use]
    pub fn needs_sign_in(&self) -> bool {
        matches!(self, Self::NotSignedIn(_) | Self::Ended(_))
    }
}

impl Access {
    /// The access tokens of the sign-in at `url`.
    #[must_use]
    pub fn new(url: PublicUrl, store: Store, http: HttpClient, clock: Arc<dyn Clock>) -> Self {
        Self { url, store, http, clock }
    }

    /// The URL of the endpoint.
    #[must_use]
    pub fn url(&self) -> &PublicUrl {
        &self.url
    }

    /// A valid access token. `rejected` is one that the server refused with 401: it is not returned again.
    pub async fn token(&self, rejected: Option<&str>) -> Result<String, AccessError> {
        if let Some(token) = self.stored_token(rejected).await? {
            return Ok(token);
        }
        let lock = self.store.lock(&self.url).await?;
        // Another process may have refreshed it meanwhile.
        if let Some(token) = self.stored_token(rejected).await? {
            return Ok(token);
        }
        let ended = || AccessError::Ended(self.url.resource());
        let mut credentials =
            self.store.load(&self.url).await?.ok_or_else(|| AccessError::NotSignedIn(self.url.resource()))?;
        let tokens = credentials.tokens.take().ok_or_else(ended)?;
        let Some(refresh_token) = tokens.refresh_token else {
            self.store.save(&credentials, &lock).await?;
            return Err(ended());
        };
        let (endpoint, client) = (&credentials.token_endpoint, &credentials.client);
        let resource = self.url.resource();
        match refresh(&self.http, endpoint, client, &refresh_token, &resource, self.clock.now()).await {
            Ok(tokens) => {
                let token = tokens.access_token.clone();
                credentials.tokens = Some(tokens);
                self.store.save(&credentials, &lock).await?;
                Ok(token)
            }
            Err(error) if error.ends_access() => {
                if error.is_unknown_client() && credentials.client.registered {
                    self.store.delete(&self.url, &lock).await?;
                } else {
                    self.store.save(&credentials, &lock).await?;
                }
                Err(ended())
            }
            Err(error) => Err(AccessError::Refresh(error)),
        }
    }

    /// The stored token, if it can be sent. `None`: it must be refreshed first.
    async fn stored_token(&self, rejected: Option<&str>) -> Result<Option<String>, AccessError> {
        let Some(credentials) = self.store.load(&self.url).await? else {
            return Err(AccessError::NotSignedIn(self.url.resource()));
        };
        let Some(tokens) = credentials.tokens else { return Err(AccessError::Ended(self.url.resource())) };
        let now = self.clock.now();
        Ok(Some(tokens).filter(|tokens| tokens.is_usable(now, rejected)).map(|tokens| tokens.access_token))
    }
}
