//! What administrators of the endpoint see of other users, and do about them.

use crate::{
    AuthorizationServer,
    grant::{Grant, GrantsError},
};
use jiff::Timestamp;
use portcullis_core::{
    grant::{GrantUser, LoginEvidence, RevocationReason},
    report::chain,
};
use portcullis_telemetry::audit::{Event, RequestContext};
use std::collections::BTreeMap;

/// What grants are revoked with.
const REASON: RevocationReason = RevocationReason::UserEnded;

impl AuthorizationServer {
    /// The users with a valid grant or an account, sorted by id: at most `limit` after the id `after`.
    #[must_use]
    pub fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
        let with_accounts = self.rechecks.accounts.users(after, limit);
        let with_grants = self.grants.users(after, limit, now);
        // A grant has the name of its own sign-in, and an account may have the id only.
        let all = with_accounts.into_iter().chain(with_grants).map(|user| (user.id.clone(), user));
        all.collect::<BTreeMap<_, _>>().into_values().take(limit).collect()
    }

    /// The user with this id, if the user has a grant or an account.
    #[must_use]
    pub fn user(&self, user_id: &str) -> Option<GrantUser> {
        let of_grant = self.grants.of_user(user_id).into_iter().next().map(|grant| grant.user.clone());
        let of_account = || self.rechecks.accounts.account(user_id).map(|account| account.user.clone());
        of_grant.or_else(of_account)
    }

    /// What the provider said of a user since `since`, when it was asked again.
    #[must_use]
    pub fn checked_evidence(&self, user_id: &str, since: Timestamp) -> Option<LoginEvidence> {
        let account = self.rechecks.accounts.account(user_id)?;
        let checked = account.checked_evidence.as_ref()?;
        (checked.at.as_second() >= since.as_second()).then(|| checked.evidence.clone())
    }

    /// Revokes one grant of any user.
    pub async fn end_grant(&self, grant: &Grant, from: &RequestContext, now: Timestamp) -> Result<(), GrantsError> {
        self.grants.revoke(&grant.name, REASON, now).await?;
        let Grant { client_id, user, name, .. } = grant;
        Event::GrantRevoked { from, client_id, user: Some(&user.id), grant: name, reason: REASON }.emit();
        Ok(())
    }

    /// Ends every session and grant that the user began until `now`, at every server. The user can sign in again.
    pub async fn end_user(&self, user: &GrantUser, from: &RequestContext, now: Timestamp) -> Result<(), GrantsError> {
        // From here on servers refuse what the user began, codes that are not redeemed yet included.
        self.rechecks.change(user, |account| account.access_ended(now)).await?;
        for grant in self.grants.of_user(&user.id) {
            let ends = grant.is_active(now) && grant.signed_in_at.as_second() <= now.as_second();
            if ends && let Err(error) = self.end_grant(&grant, from, now).await {
                tracing::warn!(
                    grant = grant.name,
                    error = chain(&error),
                    "a grant whose user's access ended is refused, but cannot be marked as revoked"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accounts::Accounts as _,
        testing::{ADA, ALLOWED, FROM, Provider, Stage, ada, refused},
        users::Verdict,
    };
    use std::sync::{Arc, atomic::Ordering};

    #[tokio::test]
    async fn ending_a_user_ends_grants_and_codes_from_before_and_none_after() {
        let stage = Stage::new();
        let tokens = stage.signed_in().await;
        let code = stage.code("app", &ALLOWED).await;
        assert_eq!(stage.server.users("", 10, stage.now()), [ada()]);
        stage.server.end_user(&ada(), &FROM, stage.now()).await.unwrap();
        assert_eq!(stage.grant().revoked, Some(RevocationReason::UserEnded));
        assert!(stage.caller(&tokens.access).await.is_err());
        refused(stage.renew(tokens.refresh()).await, "invalid_grant", "the grant is revoked");
        assert!(stage.place.account(ADA).unwrap().ends_access(stage.now()));
        refused(stage.redeem(&code).await, "invalid_grant", "the code is from before");

        stage.pass(1);
        let again = stage.signed_in().await;
        assert!(stage.caller(&again.access).await.is_ok(), "the user may come back");
    }

    #[tokio::test]
    async fn a_grant_that_cannot_be_revoked_is_refused_all_the_same() {
        let stage = Stage::new();
        let tokens = stage.signed_in().await;
        stage.grants.unreachable.store(true, Ordering::SeqCst);
        stage.server.end_user(&ada(), &FROM, stage.now()).await.unwrap();
        stage.grants.unreachable.store(false, Ordering::SeqCst);
        assert_eq!(stage.grant().revoked, None);
        assert!(stage.caller(&tokens.access).await.is_err());
        refused(stage.renew(tokens.refresh()).await, "invalid_grant", "the user's access ended");
    }

    #[tokio::test]
    async fn what_the_provider_says_later_counts_for_sessions_from_before() {
        let provider = Arc::new(Provider::that_allows());
        let stage = Stage::with_provider(&provider);
        let began = stage.now();
        let mut rng = portcullis_core::rng::rng();
        let member = LoginEvidence { administrator_groups: vec!["dev".to_owned()], ..LoginEvidence::default() };
        stage.server.note_sign_in(&ada(), &member, Some(&Provider::token("t")), None, began, &mut rng).await;
        let tokens = stage.signed_in().await;
        assert_eq!(stage.server.checked_evidence(ADA, began), Some(member));
        stage.pass(24 * 3600);
        let groups = vec!["ops".to_owned()];
        let evidence = LoginEvidence { administrator_groups: groups, ..LoginEvidence::default() };
        provider.says(Verdict::Allowed(evidence.clone()));
        stage.renew(tokens.refresh()).await.unwrap();
        assert_eq!(stage.server.checked_evidence(ADA, began), Some(evidence));
        stage.pass(1);
        assert_eq!(stage.server.checked_evidence(ADA, stage.now()), None, "a later sign-in has its own");
        // A sign-in in another browser shows that she has left the group.
        let left = LoginEvidence::default();
        stage.server.note_sign_in(&ada(), &left, Some(&Provider::token("t")), None, stage.now(), &mut rng).await;
        assert_eq!(stage.server.checked_evidence(ADA, began), Some(left));
    }

    #[tokio::test]
    async fn users_with_grants_and_accounts_come_in_pages() {
        let stage = Stage::new();
        stage.signed_in().await;
        for id in ["sso:bob", "local:ada", "a:x"] {
            let user = GrantUser { id: id.to_owned(), name: "?".to_owned() };
            stage.server.rechecks.change(&user, |account| account.access_ended(Timestamp::UNIX_EPOCH)).await.unwrap();
        }
        let page = |after: &str, limit| -> Vec<(String, String)> {
            let users = stage.server.users(after, limit, stage.now());
            users.into_iter().map(|user| (user.id, user.name)).collect()
        };
        let user = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        assert_eq!(page("", 2), [user("a:x", "?"), user(ADA, &ada().name)]);
        assert_eq!(page(ADA, 2), [user("sso:bob", "?")]);
    }
}
