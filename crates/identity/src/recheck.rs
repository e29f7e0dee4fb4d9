//! What a provider says of users after their sign-in: when it is asked again, and when it tells of a logout.

use crate::{Kind, Logins, SignInError, Way};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use portcullis_oauth::{ProviderToken, RecheckPolicy, Rechecked, Verdict};
use sha2::{Digest as _, Sha256};

/// Whose sessions a provider ended (OpenID Connect Back-Channel Logout 1.0).
#[derive(Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// The user's id; absent where the provider names the session only.
    pub user_id: Option<String>,
    /// The hash that names the session; absent where all of the user's have ended.
    pub session: Option<String>,
    /// Sessions that began later have not ended.
    pub at: Timestamp,
}

impl Logins {
    /// Whose sessions a logout token of a login's provider ends.
    pub async fn logged_out(&self, login: &str, token: &str, now: Timestamp) -> Result<LoggedOut, SignInError> {
        let way = self.way(login)?;
        let Kind::Oidc(oidc) = &way.kind else { return Err(SignInError::UnknownLogin) };
        let ended = oidc.ended(token, now).await?;
        Ok(LoggedOut {
            user_id: ended.subject.map(|subject| way.user_id(&subject)),
            session: ended.session.map(|session| session_id(&way.login.name, &session)),
            at: ended.at,
        })
    }

    /// How often the provider of a user is asked again; `None` for local and unknown users.
    #[must_use]
    pub fn recheck_policy(&self, user_id: &str) -> Option<RecheckPolicy> {
        let (way, _) = self.way_of(user_id)?;
        way.party()?;
        Some(RecheckPolicy {
            after: SignedDuration::try_from(way.login.rechecked_after().as_duration()).ok()?,
            oldest: SignedDuration::try_from(way.login.oldest_grant().as_duration()).ok()?,
        })
    }

    /// Whether a token is of the present provider of a user.
    #[must_use]
    pub fn accepts(&self, user_id: &str, token: &ProviderToken) -> bool {
        let party = self.way_of(user_id).and_then(|(way, _)| way.party());
        party == Some((&token.provider, &token.client_id))
    }

    /// Asks the provider of a user whether the user may still come in.
    pub async fn recheck(&self, user_id: &str, token: &ProviderToken, now: Timestamp) -> Rechecked {
        let Some((way, id)) = self.way_of(user_id).filter(|_| self.accepts(user_id, token)) else {
            return Verdict::Unavailable.into();
        };
        match &way.kind {
            Kind::Passwords { .. } => Verdict::Unsupported.into(),
            Kind::GitHub(github) => github.recheck(id, &token.token).await.into(),
            Kind::Oidc(oidc) => {
                let refreshed = oidc.recheck(id, &token.token, now).await;
                let token = refreshed.token.map(|next| ProviderToken { token: next, ..token.clone() });
                Rechecked { verdict: refreshed.verdict, token }
            }
        }
    }

    /// The login of a user, and the user's id there.
    fn way_of<'a>(&self, user_id: &'a str) -> Option<(&Way, &'a str)> {
        let (login, id) = user_id.split_once(':')?;
        Some((self.way(login).ok()?, id))
    }
}

/// Names a session of a provider. Its `sid` cannot be derived from it.
pub(super) fn session_id(login: &str, sid: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["portcullis provider session", login, sid] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
