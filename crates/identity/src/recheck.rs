//! Provider checks after the sign-in: rechecks, and back-channel logout.

use crate::{Kind, LoginMethod, Logins, SignInError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use portcullis_oauth::{ProviderToken, RecheckPolicy, Rechecked, Verdict};
use sha2::{Digest as _, Sha256};

/// The sessions that a provider ended (OpenID Connect Back-Channel Logout 1.0).
#[derive(Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// The user's id; absent if the provider names only the session.
    pub user_id: Option<String>,
    /// The hash that identifies the session; absent if all sessions of the user ended.
    pub session: Option<String>,
    /// The time of the logout. Sessions that began later are still valid.
    pub at: Timestamp,
}

impl Logins {
    /// Verifies a logout token of a login's provider, and returns the sessions that it ends.
    pub async fn logged_out(&self, login: &str, token: &str, now: Timestamp) -> Result<LoggedOut, SignInError> {
        let method = self.method(login)?;
        let Kind::Oidc(oidc) = &method.kind else { return Err(SignInError::UnknownLogin) };
        let ended = oidc.ended(token, now).await?;
        Ok(LoggedOut {
            user_id: ended.subject.map(|subject| method.user_id(&subject)),
            session: ended.session.map(|session| session_id(&method.login.name, &session)),
            at: ended.at,
        })
    }

    /// The policy for rechecks of a user; `None` for local and unknown users.
    #[must_use]
    pub fn recheck_policy(&self, user_id: &str) -> Option<RecheckPolicy> {
        let (method, _) = self.method_of(user_id)?;
        method.party()?;
        Some(RecheckPolicy {
            after: SignedDuration::try_from(method.login.rechecked_after().as_duration()).ok()?,
            oldest: SignedDuration::try_from(method.login.oldest_grant().as_duration()).ok()?,
        })
    }

    /// Whether a token was issued by the user's present provider to the endpoint's present client.
    #[must_use]
    pub fn accepts(&self, user_id: &str, token: &ProviderToken) -> bool {
        let party = self.method_of(user_id).and_then(|(method, _)| method.party());
        party == Some((&token.provider, &token.client_id))
    }

    /// Asks the user's provider whether the user still has access.
    pub async fn recheck(&self, user_id: &str, token: &ProviderToken, now: Timestamp) -> Rechecked {
        let Some((method, id)) = self.method_of(user_id).filter(|_| self.accepts(user_id, token)) else {
            return Verdict::Unavailable.into();
        };
        match &method.kind {
            Kind::Passwords { .. } => Verdict::Unsupported.into(),
            Kind::GitHub(github) => github.recheck(id, &token.token).await.into(),
            Kind::Oidc(oidc) => {
                let refreshed = oidc.recheck(id, &token.token, now).await;
                let token = refreshed.token.map(|next| ProviderToken { token: next, ..token.clone() });
                Rechecked { verdict: refreshed.verdict, token }
            }
        }
    }

    /// The login of a user, and the user's id at the provider.
    pub(crate) fn method_of<'a>(&self, user_id: &'a str) -> Option<(&LoginMethod, &'a str)> {
        let (login, id) = user_id.split_once(':')?;
        Some((self.method(login).ok()?, id))
    }
}

/// The hash that identifies a provider session. The provider's `sid` cannot be derived from it.
pub(super) fn session_id(login: &str, sid: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["portcullis provider session", login, sid] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
