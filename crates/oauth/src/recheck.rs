//! Rechecks: asks a user's identity provider whether it still lets the user in, when a grant is refreshed and at most
//! once per `recheckAfter` (OpenID Connect Core §12). Also records sign-ins and provider sessions that ended (OpenID
//! Connect Back-Channel Logout 1.0).
//!
//! A provider may rotate its refresh token at each use, and revoke all tokens when an old one is used again. So one
//! server at a time asks, under a lease in the account, and stores the new token before it uses the answer. A check
//! continues when the request that started it is cancelled.

use crate::{
    AuthorizationServer, OAuthError,
    accounts::{Account, Accounts, Due, due},
    grant::{Grant, Grants, GrantsError},
    seal::{Purpose, Sealer},
    users::{ProviderToken, Rechecked, Users, Verdict},
};
use jiff::Timestamp;
use portcullis_core::{
    account::SealedToken,
    grant::{GrantUser, LoginEvidence, RevocationReason},
    hex,
    report::chain,
};
use portcullis_telemetry::audit::{Event, RequestContext};
use rand::{CryptoRng, Rng as _, SeedableRng as _, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// The maximum number of attempts: of a write that conflicts with another, and of a check that a newer account
/// supersedes.
const ATTEMPTS: u32 = 5;
/// The maximum number of polls while another server holds the lease, and the interval between two polls.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// The maximum number of attempts to store the outcome of a check while the store is unreachable. The pause doubles
/// each time; the total is far shorter than a lease.
const STORE_ATTEMPTS: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The maximum length of a provider token, in bytes. Longer ones are not stored: a sealed token must fit into the
/// account.
const MAX_TOKEN: usize = 8 << 10;
/// Maximum number of users whose sessions one logout without a `sub` ends.
const MAX_USERS: usize = 8;

/// Asks identity providers about users again.
pub(super) struct Rechecks {
    pub(super) endpoint: String,
    pub(super) accounts: Arc<dyn Accounts>,
    pub(super) users: Arc<dyn Users>,
    pub(super) grants: Arc<dyn Grants>,
    pub(super) sealer: Arc<Sealer>,
    /// The checks in progress.
    pub(super) tasks: TaskTracker,
}

/// The input of one check.
struct Check {
    account: Arc<Account>,
    sealed: SealedToken,
    /// The name of the grant that is refreshed.
    grant: String,
    from: RequestContext,
    now: Timestamp,
}

/// The outcome of a check.
enum Outcome {
    Allowed(LoginEvidence),
    Refused(RevocationReason),
    Unavailable,
    Unsupported,
    /// Another server, or a sign-in, wrote the account first: its new state decides.
    Superseded,
}

impl AuthorizationServer {
    /// Asks the provider of a grant's user if a recheck is due. Returns the new evidence if the provider was asked.
    pub(super) async fn recheck(
        &self,
        grant: &Grant,
        from: &RequestContext,
        now: Timestamp,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<Option<LoginEvidence>, OAuthError> {
        let user_id = &grant.user.id;
        let Some(policy) = self.users.recheck_policy(user_id) else { return Ok(None) };
        let rechecks = &self.rechecks;
        let mut account = rechecks.known(user_id).await.map_err(|error| unreadable(&error))?;
        let (mut looks, mut attempts) = (0..LOOKS, 0..ATTEMPTS);
        loop {
            let usable = |token: &SealedToken| rechecks.open(user_id, token, now).is_some();
            match due(&policy, grant.signed_in_at, account.as_deref(), usable, now) {
                Due::Nothing => return Ok(None),
                Due::End(reason) => return Err(self.end_access(grant, reason, from, now).await),
                Due::Wait => {
                    looks.next().ok_or(OAuthError::ProviderUnavailable)?;
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                    account = rechecks.known(user_id).await.map_err(|error| unreadable(&error))?;
                }
                Due::Check(sealed) => {
                    attempts.next().ok_or(OAuthError::Unavailable)?;
                    let Some(leaseable) = account else { return Err(OAuthError::Unavailable) };
                    let mut seed = [0_u8; 32];
                    rng.fill_bytes(&mut seed);
                    let check = Check { account: leaseable, sealed, grant: grant.name.clone(), from: *from, now };
                    let rng = StdRng::from_seed(seed);
                    let running = rechecks.tasks.spawn(Arc::clone(rechecks).run(check, rng));
                    match running.await.map_err(|_| OAuthError::Unavailable)? {
                        Outcome::Allowed(evidence) => return Ok(Some(evidence)),
                        Outcome::Refused(reason) => return Err(self.end_access(grant, reason, from, now).await),
                        Outcome::Unavailable => return Err(OAuthError::ProviderUnavailable),
                        Outcome::Unsupported => {
                            // Proceed as if the provider had issued no token.
                            let without = rechecks.known(user_id).await.map_err(|error| unreadable(&error))?;
                            let due = due(&policy, grant.signed_in_at, without.as_deref(), |_| false, now);
                            return match due {
                                Due::End(reason) => Err(self.end_access(grant, reason, from, now).await),
                                _ => Ok(None),
                            };
                        }
                        Outcome::Superseded => {
                            account =
                                rechecks.accounts.read_account(user_id).await.map_err(|error| unreadable(&error))?;
                        }
                    }
                }
            }
        }
    }

    /// Records a sign-in and what the provider said of the user, and stores the provider's token. Does nothing for a login
    /// without a provider.
    pub async fn note_sign_in(
        &self,
        user: &GrantUser,
        evidence: &LoginEvidence,
        token: Option<&ProviderToken>,
        session: Option<&str>,
        now: Timestamp,
        rng: &mut (dyn CryptoRng + Send),
    ) {
        if self.users.recheck_policy(&user.id).is_none() {
            return;
        }
        let sealed = token.and_then(|token| self.rechecks.seal(&user.id, token, rng));
        let noted = self
            .rechecks
            .change(user, |account| account.signed_in(user, sealed.clone(), session, now).checked(evidence, now));
        let noted = noted.await;
        if let Err(error) = noted {
            // The sign-in is valid nevertheless: the previous account decides how long its grants last.
            tracing::warn!(
                user = user.id,
                error = chain(&error),
                "the provider's token of a sign-in could not be stored"
            );
        }
    }

    /// Ends the browser sessions of one provider session, or all sessions of a user that began until `at`. Grants are
    /// checked at their next refresh. Returns the affected users.
    pub async fn note_logout(
        &self,
        login: &str,
        user_id: Option<&str>,
        session: Option<&str>,
        at: Timestamp,
    ) -> Result<Vec<String>, GrantsError> {
        let users = match (user_id, session) {
            (Some(user_id), _) => vec![user_id.to_owned()],
            (None, Some(session)) => {
                let mut users = self.rechecks.accounts.users_of_session(login, session);
                users.truncate(MAX_USERS);
                users
            }
            (None, None) => Vec::new(),
        };
        for id in &users {
            let user = GrantUser { id: id.clone(), name: id.chars().take(256).collect() };
            self.rechecks.change(&user, |account| account.logged_out(session, at)).await?;
        }
        Ok(users)
    }

    /// Ends all browser sessions of a user that began until `at`, at every server. For users of any login. Grants are not
    /// affected.
    pub async fn end_sessions(&self, user: &GrantUser, at: Timestamp) -> Result<(), GrantsError> {
        self.rechecks.change(user, |account| account.logged_out(None, at)).await.map(drop)
    }

    /// Whether a browser session that began at `since` has ended: the provider or the user ended it.
    #[must_use]
    pub fn session_ended(&self, user_id: &str, session: Option<&str>, since: Timestamp) -> bool {
        let account = self.rechecks.accounts.account(user_id);
        account.is_some_and(|account| account.session_ended(session, since))
    }

    /// The checks in progress.
    #[must_use]
    pub fn checks(&self) -> &TaskTracker {
        &self.rechecks.tasks
    }
}

impl Rechecks {
    /// The account from memory, or from the store if memory has none.
    async fn known(&self, user_id: &str) -> Result<Option<Arc<Account>>, GrantsError> {
        match self.accounts.account(user_id) {
            Some(account) => Ok(Some(account)),
            None => self.accounts.read_account(user_id).await,
        }
    }

    /// Applies `next` to the present account and stores the result, with retries after conflicts.
    pub(super) async fn change(
        &self,
        user: &GrantUser,
        next: impl Fn(Account) -> Account,
    ) -> Result<Arc<Account>, GrantsError> {
        let mut account = self.known(&user.id).await?;
        for _ in 0..ATTEMPTS {
            let present = account.as_deref().cloned().unwrap_or_else(|| Account::new(user.clone()));
            match self.accounts.write_account(next(present)).await {
                Err(GrantsError::Exists | GrantsError::Conflict | GrantsError::NotFound) => {
                    account = self.accounts.read_account(&user.id).await?;
                }
                written => return written,
            }
        }
        Err(GrantsError::Conflict)
    }

    fn seal(&self, user_id: &str, token: &ProviderToken, rng: &mut dyn CryptoRng) -> Option<SealedToken> {
        if token.token.len() > MAX_TOKEN {
            tracing::warn!(user = user_id, "the provider's token is longer than {MAX_TOKEN} bytes, and is not stored");
            return None;
        }
        let owner = [self.endpoint.as_str(), user_id];
        let sealed = self.sealer.seal_for(Purpose::ProviderToken, &owner, token, Timestamp::MAX, rng);
        sealed.ok().map(SealedToken)
    }

    /// The token, if it was sealed for this endpoint and user, and the user's present provider issued it.
    fn open(&self, user_id: &str, sealed: &SealedToken, now: Timestamp) -> Option<ProviderToken> {
        let owner = [self.endpoint.as_str(), user_id];
        let token = self.sealer.open_for(Purpose::ProviderToken, &owner, &sealed.0, now).ok()?;
        self.users.accepts(user_id, &token).then_some(token)
    }

    async fn run(self: Arc<Self>, check: Check, mut rng: StdRng) -> Outcome {
        let Check { account, sealed, from, now, .. } = &check;
        let (user_id, now) = (account.user.id.as_str(), *now);
        let Some(token) = self.open(user_id, sealed, now) else { return Outcome::Superseded };
        let mut holder = [0_u8; 16];
        rng.fill_bytes(&mut holder);
        let leased = match self.accounts.write_account(Account::clone(account).leased(&hex(&holder), now)).await {
            Ok(leased) => leased,
            Err(GrantsError::Exists | GrantsError::Conflict | GrantsError::NotFound) => return Outcome::Superseded,
            Err(error) => {
                tracing::warn!(user = user_id, error = chain(&error), "a user could not be checked");
                return Outcome::Unavailable;
            }
        };
        let Rechecked { verdict, token: next } = self.users.recheck(user_id, &token, now).await;
        let replaced = next.is_some();
        // Seal the token at every check, since the key that sealed it will be deleted after a rotation.
        let next = self.seal(user_id, &next.unwrap_or(token), &mut rng);
        let kept = self.keep(&leased, sealed, &verdict, next, now).await;
        let outcome = match &verdict {
            Verdict::Allowed(_) => "allowed",
            Verdict::Refused(_) if kept == Kept::Superseded => "superseded",
            Verdict::Refused(_) => "refused",
            Verdict::Unavailable => "unavailable",
            Verdict::Unsupported => "unsupported",
        };
        Event::UserRechecked { from, user: user_id, outcome }.emit();
        match (verdict, kept) {
            (Verdict::Refused(_), Kept::Superseded) => Outcome::Superseded,
            (Verdict::Refused(reason), _) => {
                self.end_others(&check, reason).await;
                Outcome::Refused(reason)
            }
            // The provider may accept only the new token, which is lost.
            (Verdict::Allowed(_), Kept::Lost) if replaced => Outcome::Unavailable,
            (Verdict::Allowed(evidence), _) => Outcome::Allowed(evidence),
            (Verdict::Unavailable, _) => Outcome::Unavailable,
            (Verdict::Unsupported, _) => Outcome::Unsupported,
        }
    }

    /// Stores the result of a check, and releases the lease.
    async fn keep(
        &self,
        leased: &Account,
        used: &SealedToken,
        verdict: &Verdict,
        next: Option<SealedToken>,
        now: Timestamp,
    ) -> Kept {
        let mut account = leased.clone();
        let mut pause = FIRST_PAUSE;
        let mut failure = None;
        for _ in 0..STORE_ATTEMPTS {
            if account.token.as_ref() != Some(used) {
                return Kept::Superseded;
            }
            // After a logout in the meantime, the provider must be asked again.
            let logged_out =
                (&account.sessions, account.sessions_end_before) != (&leased.sessions, leased.sessions_end_before);
            let outcome = match verdict {
                Verdict::Allowed(evidence) if !logged_out => {
                    account.clone().allowed(next.clone(), now).checked(evidence, now)
                }
                Verdict::Refused(reason) => account.clone().refused(*reason, now),
                _ => account.clone().released(next.clone()),
            };
            let written = match self.accounts.write_account(outcome).await {
                Err(GrantsError::Exists | GrantsError::Conflict) => {
                    match self.accounts.read_account(&leased.user.id).await {
                        Ok(Some(present)) => {
                            account = Account::clone(&present);
                            continue;
                        }
                        Ok(None) => return Kept::Stored,
                        Err(error) => Err(error),
                    }
                }
                written => written.map(drop),
            };
            match written {
                // The account was deleted: there is nothing to store.
                Ok(()) | Err(GrantsError::NotFound) => return Kept::Stored,
                Err(error) => failure = Some(error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let error = failure.as_ref().map(|error| chain(error)).unwrap_or_default();
        tracing::error!(
            user = leased.user.id,
            error,
            "a provider's answer about a user could not be stored; if the user's next refresh is refused, the user must \
             sign in again"
        );
        Kept::Lost
    }

    /// Revokes the user's other grants. A grant that cannot be revoked is refused at its next refresh.
    async fn end_others(&self, check: &Check, reason: RevocationReason) {
        let Check { account, grant: refreshed, from, now, .. } = check;
        for grant in self.grants.of_user(&account.user.id) {
            let ends = grant.is_active(*now) && grant.name != *refreshed && grant.signed_in_at <= *now;
            if !ends {
                continue;
            }
            match self.grants.revoke(&grant.name, reason, *now).await {
                Ok(()) => {
                    let Grant { client_id, user, name, .. } = &*grant;
                    Event::GrantRevoked { from, client_id, user: Some(&user.id), grant: name, reason }.emit();
                }
                Err(error) => {
                    tracing::warn!(grant = grant.name, error = chain(&error), "a grant could not be revoked");
                }
            }
        }
    }
}

/// Whether the result of a check is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Stored,
    /// A newer sign-in stored a newer token.
    Superseded,
    Lost,
}

fn unreadable(error: &GrantsError) -> OAuthError {
    tracing::warn!(error = chain(error), "a user's account could not be read");
    OAuthError::Unavailable
}

#[cfg(test)]
mod tests;
