//! A user who is removed at a real provider: sessions, grants and agents end, with the runbook's command at once, and without
//! it as soon as the provider is asked again. A logout at the provider ends the browser's session here, and no grant.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind, nobody},
    flows::{ALICE, Person, stage, who},
    idp::{Keycloak, OidcProvider, Registered},
    stage::{PUBLIC, Stage},
};
use portcullis_api::OAuthUser;
use portcullis_core::grant::RevocationReason;
use portcullis_oauth::{accounts::Accounts as _, grant::Grants as _};
use serde_json::{Value, json};

/// A provider in the hands of its administrator.
pub trait Directory {
    /// Its issuer, and the client that we are there.
    fn known(&self) -> (&str, Registered);
    /// What the login says besides, so that the provider can be asked again.
    fn asked_again(&self) -> Value;
    /// What the login says besides, so that the provider tells when people sign out.
    fn telling(&self) -> Value;
    /// Has the end of sessions told to this URL.
    async fn tell_logouts_to(&mut self, url: &str);
    /// Has a person sign out there.
    async fn sign_out(&self, browser: &mut Browser);
    /// Takes alice out.
    async fn remove_alice(&mut self);
}

impl Directory for OidcProvider {
    fn known(&self) -> (&str, Registered) {
        (&self.issuer, self.client)
    }

    /// It gives no refresh token otherwise (OpenID Connect Core §11).
    fn asked_again(&self) -> Value {
        json!({"offlineAccess": "RequestWithConsent"})
    }

    fn telling(&self) -> Value {
        self.asked_again()
    }

    async fn tell_logouts_to(&mut self, url: &str) {
        Self::tell_logouts_to(self, url).await;
    }

    async fn sign_out(&self, browser: &mut Browser) {
        browser.open(&format!("{}/session/end", self.issuer)).await;
        browser.press("Yes, sign me out").await;
    }

    async fn remove_alice(&mut self) {
        self.set_users(&json!({"mallory": {"password": "mallory-secret", "groups": ["other"]}})).await;
    }
}

impl Directory for Keycloak {
    fn known(&self) -> (&str, Registered) {
        (&self.issuer, self.client)
    }

    fn asked_again(&self) -> Value {
        json!({})
    }

    /// An offline session is another one than the browser's, and does not end when its user signs out.
    fn telling(&self) -> Value {
        json!({"offlineAccess": "Never"})
    }

    async fn tell_logouts_to(&mut self, url: &str) {
        Self::tell_logouts_to(self, url).await;
    }

    async fn sign_out(&self, browser: &mut Browser) {
        browser.open(&format!("{}/protocol/openid-connect/logout", self.issuer)).await;
        browser.press("Logout").await;
    }

    async fn remove_alice(&mut self) {
        self.disable("alice").await;
    }
}

/// The user's id, and whether the browser is still signed in.
async fn is_signed_in(stage: &Stage, person: &mut Person) -> bool {
    person.browser.open(&format!("{}/agents", stage.origin)).await.text.contains("Signed in as alice")
}

async fn connect(stage: &Stage, person: &mut Person) -> Client {
    let identity = Identity::Preset { client_id: PUBLIC, client_secret: None };
    let mut client = Client::start(Kind::TypeScript2, "2025-11-25", &stage.url, &identity).await;
    client.connect(async |url| person.allow(url).await).await.unwrap();
    client
}

/// The agent refreshes, is refused, and would have to ask its user.
async fn must_ask(client: &mut Client) {
    let mut asked = 0;
    let nothing = json!({});
    let called = client.call("whoami", &nothing, async |_| asked += 1);
    // It waits for an answer that does not come.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), called).await;
    assert_eq!(asked, 1, "the agent asks its user");
}

fn why_revoked(stage: &Stage, user: &str) -> Vec<Option<RevocationReason>> {
    let mut grants = stage.state.of_user(user);
    grants.sort_by_key(|grant| (grant.created_at, grant.name.clone()));
    grants.iter().map(|grant| grant.revoked).collect()
}

/// Signing out at the provider ends the session here, and no grant.
pub async fn signs_out(provider: &mut impl Directory, person: &mut Person) {
    let (issuer, known) = provider.known();
    let stage = stage(issuer, known, &provider.telling()).await;
    provider.tell_logouts_to(&format!("{}/login/sso/backchannel-logout", stage.origin)).await;
    let mut client = connect(&stage, person).await;
    let user = who(&mut client).await["subject"].as_str().unwrap().to_owned();
    assert!(is_signed_in(&stage, person).await);
    provider.sign_out(&mut person.browser).await;
    let told = async {
        while stage.state.account(&user).unwrap().checked_at.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), told).await.expect("the provider tells of it");
    assert!(!is_signed_in(&stage, person).await);
    client.spoil().await;
    assert_eq!(who(&mut client).await["user"], "alice");
    let account = stage.state.account(&user).unwrap();
    assert_eq!(account.checked_at.is_some(), account.token.is_some(), "it is asked at once, if it can be");
    assert_eq!(why_revoked(&stage, &user), [None]);
}

/// The clock of the endpoint goes ahead of the provider's by a few minutes only: ID tokens last no longer.
pub async fn ends(provider: &mut impl Directory, person: &mut Person) {
    let (issuer, known) = provider.known();
    let mut login = provider.asked_again();
    login["recheckAfter"] = json!("1m");
    let stage = stage(issuer, known, &login).await;

    // The provider is asked again and again, with a token that it may replace each time.
    let mut client = connect(&stage, person).await;
    let user = who(&mut client).await["subject"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let before = stage.state.account(&user).unwrap();
        assert!(before.token.is_some(), "{before:?}");
        stage.pass(1);
        client.spoil().await;
        assert_eq!(who(&mut client).await["user"], "alice");
        let after = stage.state.account(&user).unwrap();
        assert!(after.checked_at > before.checked_at && after.lease.is_none(), "{after:?}");
    }

    // The runbook's command.
    person.sign_in(&format!("{}/login", stage.origin), ALICE).await;
    assert!(is_signed_in(&stage, person).await);
    let rule = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthUser", "metadata": {"name": "alice"},
        "spec": {"endpointRef": {"name": "agents"}, "user": {"id": user}, "disabled": true},
    });
    let rule: OAuthUser = serde_json::from_value(rule).unwrap();
    stage.state.set_users([&rule]);
    must_ask(&mut client).await;
    assert!(!is_signed_in(&stage, person).await);
    assert_eq!(why_revoked(&stage, &user), [Some(RevocationReason::UserDisabled)]);

    // Without it: within recheckAfter, at the next refresh.
    stage.state.set_users([]);
    stage.pass(1);
    let mut client = connect(&stage, person).await;
    assert!(is_signed_in(&stage, person).await);
    provider.remove_alice().await;
    client.spoil().await;
    assert_eq!(client.call("whoami", &json!({}), nobody).await.unwrap()["structuredContent"]["user"], "alice");
    stage.pass(1);
    client.spoil().await;
    must_ask(&mut client).await;
    assert!(!is_signed_in(&stage, person).await);
    let ended = [Some(RevocationReason::UserDisabled), Some(RevocationReason::ProviderRefused)];
    assert_eq!(why_revoked(&stage, &user), ended);
}
