//! The data that is stored about users of an identity provider: the sealed token for rechecks, the time of the last
//! check, and ended provider sessions (OpenID Connect Back-Channel Logout 1.0).
//!
//! [`Accounts`] abstracts the store, as [`Grants`](super::grant::Grants) does. The functions on [`Account`] are pure:
//! each returns the account to store in place of the present one.

use crate::{grant::GrantsError, users::RecheckPolicy};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::{
    account::{CheckLease, CheckedEvidence, ProviderRefusal, ProviderSession, SealedToken},
    grant::{GrantUser, LoginEvidence, RevocationReason},
};
use std::{fmt::Debug, sync::Arc};

/// Maximum number of provider sessions that are kept for one user.
pub const MAX_SESSIONS: usize = 32;

/// How long a server has exclusive use of the token: longer than all requests to a provider together can take.
const LEASE: SignedDuration = SignedDuration::from_secs(60);

/// The account of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: GrantUser,
    /// When the user last signed in.
    pub signed_in_at: Option<Timestamp>,
    /// The provider's token.
    pub token: Option<SealedToken>,
    /// When the provider last let the user in; `None` if it must be asked at the next refresh.
    pub checked_at: Option<Timestamp>,
    /// The lease of the server that uses the token at present.
    pub lease: Option<CheckLease>,
    /// Set when the provider no longer lets the user in.
    pub refused: Option<ProviderRefusal>,
    /// What the provider said when it was last asked again.
    pub checked_evidence: Option<CheckedEvidence>,
    /// An administrator ended what the user began before or in this second.
    pub access_ends_before: Option<Timestamp>,
    /// Sessions that began before or in this second have ended.
    pub sessions_end_before: Option<Timestamp>,
    /// The provider's sessions, the latest last.
    pub sessions: Vec<ProviderSession>,
    /// Opaque store version, for optimistic locking; empty if the account is not stored yet.
    pub version: String,
}

/// What a refresh of a grant must do about the user's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The last answer of the provider is still valid.
    Nothing,
    /// The provider must be asked again, with this token.
    Check(SealedToken),
    /// Another server is asking the provider.
    Wait,
    /// The grant ends, for this reason.
    End(RevocationReason),
}

/// The store of the accounts of one endpoint.
#[async_trait]
pub trait Accounts: Debug + Send + Sync {
    /// Reads from memory; no I/O.
    fn account(&self, user_id: &str) -> Option<Arc<Account>>;

    /// The users with an account, from memory, sorted by id: at most `limit` after the id `after`.
    fn users(&self, after: &str, limit: usize) -> Vec<GrantUser>;

    /// The users of `login` who signed in with this session of the provider, from memory.
    fn users_of_session(&self, login: &str, session: &str) -> Vec<String>;

    /// Reads from the store.
    async fn read_account(&self, user_id: &str) -> Result<Option<Arc<Account>>, GrantsError>;

    /// Stores a new account, or replaces the one of this version. Fails with [`GrantsError::Exists`],
    /// [`GrantsError::Conflict`] or [`GrantsError::NotFound`] if another write came first.
    async fn write_account(&self, account: Account) -> Result<Arc<Account>, GrantsError>;
}

/// The object name of a user's account: the same at every server, so that two servers cannot create two accounts.
#[must_use]
pub fn object_name(endpoint: &str, user_id: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    for part in ["portcullis account", endpoint, user_id] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    format!("a-{}", portcullis_core::hex(&hash.finalize()).chars().take(40).collect::<String>())
}

impl Account {
    /// The account of a user without stored data.
    #[must_use]
    pub fn new(user: GrantUser) -> Self {
        Self {
            user,
            signed_in_at: None,
            token: None,
            checked_at: None,
            lease: None,
            refused: None,
            checked_evidence: None,
            access_ends_before: None,
            sessions_end_before: None,
            sessions: Vec::new(),
            version: String::new(),
        }
    }

    /// The account after a sign-in. Without a new token, the old one is kept: not every provider issues one at every
    /// sign-in.
    #[must_use]
    pub fn signed_in(
        mut self,
        user: &GrantUser,
        token: Option<SealedToken>,
        session: Option<&str>,
        now: Timestamp,
    ) -> Self {
        self.user = user.clone();
        self.signed_in_at = self.signed_in_at.max(Some(now));
        self.checked_at = self.checked_at.max(Some(now));
        if token.is_some() {
            // The server with the lease used the old token, and will find that this one is newer.
            self.token = token;
            self.lease = None;
        }
        if let Some(session) = session {
            self.note_session(session, false, now);
        }
        self
    }

    /// The account after the provider ended one session, or all that began until `at`. Grants are checked at their next
    /// refresh.
    #[must_use]
    pub fn logged_out(mut self, session: Option<&str>, at: Timestamp) -> Self {
        match session {
            Some(session) => self.note_session(session, true, at),
            None => self.sessions_end_before = self.sessions_end_before.max(Some(at)),
        }
        self.checked_at = None;
        self
    }

    fn note_session(&mut self, id: &str, ended: bool, at: Timestamp) {
        let known = self.sessions.iter().position(|known| known.id == id).map(|index| self.sessions.remove(index));
        let ended = ended || known.is_some_and(|known| known.ended);
        self.sessions.push(ProviderSession { id: id.to_owned(), at, ended });
        let surplus = self.sessions.len().saturating_sub(MAX_SESSIONS);
        // An ended session must not become valid when its entry is dropped, so all sessions that began until its last
        // update end.
        let ended_at = self.sessions.drain(..surplus).filter(|dropped| dropped.ended).map(|dropped| dropped.at).max();
        self.sessions_end_before = self.sessions_end_before.max(ended_at);
    }

    /// Whether a browser session that began at `since`, in this session of the provider, has ended.
    #[must_use]
    pub fn session_ended(&self, session: Option<&str>, since: Timestamp) -> bool {
        let until = |bound: Option<Timestamp>| bound.is_some_and(|bound| since.as_second() <= bound.as_second());
        until(self.sessions_end_before)
            || until(self.refused.as_ref().map(|refused| refused.at))
            || session.is_some_and(|id| self.sessions.iter().any(|known| known.ended && known.id == id))
    }

    /// The account after an administrator ended the user's access.
    #[must_use]
    pub fn access_ended(mut self, at: Timestamp) -> Self {
        self.access_ends_before = self.access_ends_before.max(Some(at));
        self
    }

    /// Whether an administrator ended the access that the user began at `since`.
    #[must_use]
    pub fn ends_access(&self, since: Timestamp) -> bool {
        self.access_ends_before.is_some_and(|bound| since.as_second() <= bound.as_second())
    }

    /// Why a grant whose user signed in at `since` has ended at the provider, if it has.
    #[must_use]
    pub fn refusal(&self, since: Timestamp) -> Option<RevocationReason> {
        let refused = self.refused.as_ref()?;
        (since.as_second() <= refused.at.as_second()).then_some(refused.reason)
    }

    /// The account with a lease for `holder`, which is about to ask the provider.
    #[must_use]
    pub fn leased(mut self, holder: &str, now: Timestamp) -> Self {
        let until = now.saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        self.lease = Some(CheckLease { holder: holder.to_owned(), until });
        self
    }

    /// The account after the lease is released, with the provider's replacement for the old token, if any.
    #[must_use]
    pub fn released(mut self, token: Option<SealedToken>) -> Self {
        self.lease = None;
        if token.is_some() {
            self.token = token;
        }
        self
    }

    /// The account after the provider let the user in.
    #[must_use]
    pub fn allowed(mut self, token: Option<SealedToken>, now: Timestamp) -> Self {
        self.checked_at = Some(now);
        self.released(token)
    }

    /// The account with what the provider said of the user.
    #[must_use]
    pub fn checked(mut self, evidence: &LoginEvidence, now: Timestamp) -> Self {
        self.checked_evidence = Some(CheckedEvidence { at: now, evidence: evidence.clone() });
        self
    }

    /// The account after the provider refused the user. The token is of no further use.
    #[must_use]
    pub fn refused(mut self, reason: RevocationReason, now: Timestamp) -> Self {
        self.refused = Some(ProviderRefusal { at: now, reason });
        self.checked_at = None;
        self.token = None;
        self.released(None)
    }
}

/// What a refresh at `now` must do for a grant whose user signed in at `since`. `usable` tells whether the account's
/// token can be opened.
#[must_use]
pub fn due(
    policy: &RecheckPolicy,
    since: Timestamp,
    account: Option<&Account>,
    usable: impl FnOnce(&SealedToken) -> bool,
    now: Timestamp,
) -> Due {
    if let Some(reason) = account.and_then(|account| account.refusal(since)) {
        return Due::End(reason);
    }
    let age = |at: Timestamp| now.duration_since(at);
    if let Some((account, token)) = account.and_then(|account| Some((account, account.token.as_ref()?)))
        && usable(token)
    {
        // A check in the future was recorded with another server's clock, and is valid no longer than any other.
        let fresh = account.checked_at.is_some_and(|at| age(at).abs() < policy.after);
        return match &account.lease {
            _ if fresh => Due::Nothing,
            Some(lease) if lease.until > now && age(lease.until).abs() <= LEASE => Due::Wait,
            _ => Due::Check(token.clone()),
        };
    }
    let last = account.and_then(|account| account.signed_in_at).map_or(since, |at| at.max(since));
    if age(last) < policy.oldest { Due::Nothing } else { Due::End(RevocationReason::SignInTooOld) }
}

#[cfg(test)]
mod tests;
