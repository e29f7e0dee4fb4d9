//! Nothing is stored or logged from which a credential could be used: a full run of everything that deals with
//! credentials, then a search through all that is left of it.

mod dump;
mod run;
mod steps;
mod trail;

use crate::operator::stage::own_plane;
use run::Run;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_is_in_any_object_log_or_metric_but_where_it_must_be() {
    let plane = own_plane().await;
    let mut run = Run::start(&plane).await;
    run.sign_in_and_be_replayed().await;
    run.take_back_by_page().await;
    run.register_and_give_back().await;
    run.come_from_github().await;
    run.act_unattended().await;
    run.put_credentials_where_they_do_not_belong().await;
    run.rotate_the_client_secret().await;
    run.restart_a_server().await;
    run.present_what_is_stored().await;
    run.note_tokens_of_service_accounts().await;

    let entries = dump::everything(&run.stage).await;
    let log = |place: &str| {
        let (_, text) = entries.iter().find(|(name, _)| name == place).unwrap();
        String::from_utf8_lossy(text)
    };
    // It was logged, and in full.
    for event in [
        "user.signed_in",
        "sign_in.refused",
        "consent.given",
        "code.refused",
        "grant.created",
        "grant.refreshed",
        "refresh_token.replayed",
        "grant.revoked",
        "client.registered",
    ] {
        assert!(log("the servers' logs").contains(&format!("\"event\":\"{event}\"")), "{event}");
    }
    assert!(log("the servers' logs").contains("\"level\":\"DEBUG\""));
    assert!(log("the operator's log").contains("\"leading\""));
    let places: BTreeSet<&str> = entries.iter().filter_map(|(place, _)| place.split(' ').next()).collect();
    for kind in ["Event", "Lease", "OAuthClient", "OAuthGrant", "McpEndpoint", "Pod", "Secret", "ReplicaSet"] {
        assert!(places.contains(kind), "there is a {kind}");
    }
    assert!(run.trail.len() > 60, "{} credentials were met", run.trail.len());

    let namespace = &run.stage.namespace;
    let mut found = BTreeSet::new();
    for (place, text) in &entries {
        for (name, line) in run.trail.found_in(text) {
            println!("{name} in {place}: {line}");
            found.insert((name, place.clone()));
        }
    }
    let secret = |name: &str, key: &str| format!("Secret {namespace}/{name} {key}");
    // Nowhere else, and there: so the search finds what there is.
    let needed: BTreeSet<(&str, String)> = [
        ("client secret", secret("robot-oauth", "client-secret")),
        ("client secret at the provider", secret("hub", "client-secret")),
        ("client secret at the provider", secret("agents-login", "login.json")),
        ("sealing key", secret("agents-signing-keys", "signing-keys.json")),
        ("signing key", secret("agents-signing-keys", "signing-keys.json")),
    ]
    .into();
    assert_eq!(found, needed, "of {:?}", run.trail.names());
}
