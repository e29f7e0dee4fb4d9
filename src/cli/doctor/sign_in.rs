//! The token of a user for the examination: of the stored sign-in of `portcullis login`, or by the browser.

use crate::cli::client::{ClientCommandError, ConnectionOptions, login::sign_in_by_browser};
use portcullis_client::{access::AccessError, store::StoreError};
use portcullis_core::{PublicUrl, report::chain};
use portcullis_doctor::{UserToken, UserTokenError, UserTokenFuture};
use std::path::PathBuf;

/// The sign-in at an endpoint.
#[derive(Debug)]
pub(super) struct StoredSignIn {
    url: PublicUrl,
    /// Whether the user may be asked to sign in.
    browser: bool,
    ca: Option<PathBuf>,
}

impl StoredSignIn {
    /// The sign-in at `url`. If there is none, the browser is opened if `browser` allows it.
    pub(super) fn new(url: PublicUrl, browser: bool, ca: Option<PathBuf>) -> Self {
        Self { url, browser, ca }
    }

    async fn obtain(&self) -> Result<String, ClientCommandError> {
        let (access, http) = ConnectionOptions::trusting(self.ca.clone()).access(&self.url)?;
        match access.token(None).await {
            Err(error) if error.needs_sign_in() && self.browser => {
                sign_in_by_browser(&self.url, &http).await?;
                Ok(access.token(None).await?)
            }
            token => Ok(token?),
        }
    }
}

impl UserToken for StoredSignIn {
    fn token(&self) -> UserTokenFuture<'_> {
        Box::pin(async {
            self.obtain().await.map_err(|error| match error {
                ClientCommandError::Access(AccessError::NotSignedIn(_)) => UserTokenError::NotSignedIn,
                // Without a home folder no user can have signed in.
                ClientCommandError::Store(StoreError::NoFolder) if !self.browser => UserTokenError::NotSignedIn,
                ClientCommandError::Access(AccessError::Ended(_)) => UserTokenError::Ended,
                other => UserTokenError::Failed(chain(&other)),
            })
        })
    }
}
