//! Groups of a provider that make a user an administrator of the console.

use crate::identity::{
    clock::ManualClock,
    provider::{CLIENT_ID, CLIENT_SECRET, Provider, World},
    relying::{CALLBACK, begin, client, config, keys, now, secrets},
};
use portcullis_identity::Logins;
use portcullis_outbound::Outbound;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn groups_of_administrators_are_kept_beside_those_that_let_in() {
    let evidence = async |allowed: &[&str], change: &dyn Fn(&mut World)| {
        let provider = Provider::start().await;
        provider.change(change);
        let login = json!({
            "issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}, "allowedGroups": allowed,
        });
        let mut settings = config(&json!([{"name": "sso", "oidc": login}]));
        settings.console.administrators.groups = ["sso:platform", "other:developers"].map(str::to_owned).to_vec();
        let (known, keys) = (secrets("sso", client(CLIENT_ID, CLIENT_SECRET)), keys());
        let outbound = Arc::new(Outbound::new().unwrap());
        let logins = Logins::new(&settings, &known, &keys, outbound, Arc::new(ManualClock::at(now()))).unwrap();
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        let query = provider.authorize(&location);
        let signed_in = logins.finish(&pending, &query, CALLBACK, now()).await;
        let evidence = signed_in.map_err(|error| error.reason())?.evidence;
        assert_eq!(logins.is_administrator("sso:7", Some(&evidence)), !evidence.administrator_groups.is_empty());
        Ok((evidence.groups, evidence.administrator_groups))
    };
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let claims = |value: Value| move |world: &mut World| world.claims = json!({"groups": value});
    let both = claims(json!(["developers", "platform", "other"]));
    assert_eq!(evidence(&["developers"], &both).await, Ok((groups(&["developers"]), groups(&["platform"]))));
    assert_eq!(evidence(&[], &both).await, Ok((groups(&[]), groups(&["platform"]))));
    let administers = claims(json!(["platform"]));
    assert_eq!(evidence(&["developers"], &administers).await, Err("not_allowed"), "it is not enough");
    assert_eq!(
        evidence(&["developers"], &claims(json!(["developers"]))).await,
        Ok((groups(&["developers"]), groups(&[])))
    );
    // The groups are asked for at userinfo; without them, users sign in and are no administrators.
    let more = |world: &mut World| {
        (world.claims, world.user_info) = (json!({"groups": null}), json!({"groups": ["platform"]}));
    };
    assert_eq!(evidence(&[], &more).await, Ok((groups(&[]), groups(&["platform"]))));
    let none = |world: &mut World| (world.claims, world.user_info) = (json!({"groups": null}), json!({"sub": "8"}));
    assert_eq!(evidence(&[], &none).await, Ok((groups(&[]), groups(&[]))));
}
