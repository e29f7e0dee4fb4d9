//! Tests of clients' secrets over time: generated, kept, rotated, repaired, refused.

use crate::tests::{NoRandomness, PlanScenario, verifiers};
use crate::{
    ClientPlan, ClientProblem, CredentialChange, PREVIOUS_EXPIRES_ANNOTATION, PREVIOUS_HASH_ANNOTATION, Plan,
    PlanError, PlannedObject, ROTATE_ANNOTATION, ROTATED_AT_ANNOTATION,
    tests::{find, typed},
};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use portcullis_config::OPERATOR_CLIENT_ID;

const ROTATING: &str = "scopes: [workspaces:read]
grants: [client_credentials]
secret: {rotation: {interval: 1h, overlap: 10m}}";

fn rotating() -> PlanScenario {
    PlanScenario::plain().with_client("bot", ROTATING)
}

fn only_client(plan: &Plan) -> &ClientPlan {
    let [client] = plan.clients.as_slice() else { panic!("one client") };
    client
}

fn verifies(plan: &Plan, secret: &str, now: &str) -> bool {
    verifiers(plan).get("bot").is_some_and(|client| client.verifies(secret, time(now)))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn set(secret: &mut Secret, key: &str, value: &str) {
    secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.into()));
}

#[test]
fn a_secret_is_made_once_and_kept() {
    let mut scenario = rotating();
    let first = scenario.apply();
    let client = only_client(&first);
    assert_eq!(client.change, Some(CredentialChange::Created));
    assert_eq!(client.secret_name.as_deref(), Some("bot-oauth"));
    assert_eq!(client.rotated_at, Some(time("2026-03-01T10:00:00Z")));
    assert_eq!(client.next_rotation, Some(time("2026-03-01T11:00:00Z")));
    assert_eq!(first.next_change, client.next_rotation);
    let planned = find(&first, "Secret", "bot-oauth");
    assert!(planned.generated && planned.replaces.is_none());
    assert!(verifies(&first, &scenario.text("bot-oauth", "client-secret"), "2026-03-01T10:00:00Z"));

    scenario.at("2026-03-01T10:59:59.9Z");
    let second = scenario.plan_with(&mut NoRandomness).unwrap();
    assert_eq!(only_client(&second).change, None);
    assert_eq!(find(&second, "Secret", "bot-oauth").object, planned.object);
    assert!(!find(&second, "Secret", "bot-oauth").generated);
}

#[test]
fn at_its_time_a_secret_is_rotated_and_both_count_until_the_overlap_ends() {
    let mut scenario = rotating();
    scenario.apply();
    let old = scenario.text("bot-oauth", "client-secret");
    scenario.at("2026-03-01T11:00:00Z");
    let rotated = scenario.apply();
    let new = scenario.text("bot-oauth", "client-secret");
    assert_ne!(old, new);
    assert_eq!(only_client(&rotated).change, Some(CredentialChange::Rotated));
    let planned = find(&rotated, "Secret", "bot-oauth");
    assert!(planned.generated && planned.replaces.is_some());
    assert_eq!(rotated.next_change, Some(time("2026-03-01T11:10:00Z")), "the overlap ends before the next rotation");

    let last = "2026-03-01T11:09:59.999Z";
    assert!(verifies(&rotated, &old, last) && verifies(&rotated, &new, last));
    let end = "2026-03-01T11:10:00Z";
    assert!(!verifies(&rotated, &old, end) && verifies(&rotated, &new, end));

    scenario.at(end);
    let after = scenario.apply();
    assert_eq!(verifiers(&after).get("bot").unwrap().secrets.len(), 1);
    assert_eq!(scenario.secret("bot-oauth").metadata.annotations.as_ref().unwrap().len(), 1, "only rotated-at is left");
    assert_eq!(after.next_change, Some(time("2026-03-01T12:00:00Z")));
}

#[test]
fn a_late_rotation_gives_the_whole_overlap() {
    let mut scenario = rotating();
    scenario.apply();
    let old = scenario.text("bot-oauth", "client-secret");
    scenario.at("2026-03-09T00:00:00Z");
    let rotated = scenario.apply();
    assert!(verifies(&rotated, &old, "2026-03-09T00:09:59Z") && !verifies(&rotated, &old, "2026-03-09T00:10:00Z"));
    assert_eq!(only_client(&rotated).next_rotation, Some(time("2026-03-09T01:00:00Z")));
}

#[test]
fn without_overlap_the_old_secret_ends_at_once() {
    let spec = ROTATING.replace("10m", "0s");
    let mut scenario = PlanScenario::plain().with_client("bot", &spec);
    scenario.apply();
    let old = scenario.text("bot-oauth", "client-secret");
    scenario.at("2026-03-01T11:00:00Z");
    let rotated = scenario.apply();
    assert!(!verifies(&rotated, &old, "2026-03-01T11:00:00Z"));
    assert_eq!(rotated.next_change, Some(time("2026-03-01T12:00:00Z")));
}

#[test]
fn a_missing_or_unusable_secret_is_replaced_without_overlap() {
    type Damage = fn(&mut PlanScenario);
    let damages: [(&str, Damage); 6] = [
        ("deleted", |scenario| drop(scenario.secrets.remove("bot-oauth"))),
        ("without data", |scenario| scenario.secret("bot-oauth").data = None),
        ("emptied", |scenario| set(scenario.secret("bot-oauth"), "client-secret", "")),
        ("chosen by hand", |scenario| set(scenario.secret("bot-oauth"), "client-secret", "hunter2")),
        ("cut short", |scenario| {
            let short = scenario.text("bot-oauth", "client-secret")[..40].to_owned();
            set(scenario.secret("bot-oauth"), "client-secret", &short);
        }),
        ("no text", |scenario| {
            let data = scenario.secret("bot-oauth").data.get_or_insert_default();
            data.insert("client-secret".to_owned(), ByteString(vec![0xff; 47]));
        }),
    ];
    for (damage, make) in damages {
        let mut scenario = rotating();
        scenario.apply();
        let old = scenario.text("bot-oauth", "client-secret");
        scenario.at("2026-03-01T10:30:00Z");
        make(&mut scenario);
        let observed = scenario.secrets.contains_key("bot-oauth");
        let healed = scenario.apply();
        let expected = if observed { CredentialChange::Healed } else { CredentialChange::Created };
        assert_eq!(only_client(&healed).change, Some(expected), "{damage}");
        assert_eq!(find(&healed, "Secret", "bot-oauth").replaces.is_some(), observed, "{damage}");
        assert!(find(&healed, "Secret", "bot-oauth").generated, "{damage}");
        assert!(!verifies(&healed, &old, "2026-03-01T10:30:00Z"), "{damage}");
        assert!(
            verifies(&healed, &scenario.text("bot-oauth", "client-secret"), "2026-03-01T10:30:00Z"),
            "{damage}: the new one counts"
        );
        assert_eq!(only_client(&healed).rotated_at, Some(time("2026-03-01T10:30:00Z")), "{damage}");
    }
}

#[test]
fn an_emptied_secret_in_an_overlap_ends_the_previous_one_too() {
    let mut scenario = rotating();
    scenario.apply();
    let old = scenario.text("bot-oauth", "client-secret");
    scenario.at("2026-03-01T11:00:00Z");
    scenario.apply();
    set(scenario.secret("bot-oauth"), "client-secret", "");
    assert!(!verifies(&scenario.plan(), &old, "2026-03-01T11:00:00Z"));
}

#[test]
fn what_surrounds_a_good_secret_is_written_anew() {
    let mut scenario = rotating();
    let whole = scenario.apply();
    let secret = scenario.secret("bot-oauth");
    set(secret, "client-id", "mallory");
    set(secret, "url", "https://evil.example");
    secret.data.get_or_insert_default().remove("token-url");
    secret.metadata.labels.get_or_insert_default().remove("app.kubernetes.io/managed-by");
    let planned = scenario.plan_with(&mut NoRandomness).unwrap();
    assert_eq!(only_client(&planned).change, None);
    let (before, after) = (find(&whole, "Secret", "bot-oauth"), find(&planned, "Secret", "bot-oauth"));
    assert_eq!(after.object, before.object);
    assert!(after.replaces.is_some() && !after.generated, "written only over what was observed");
}

#[test]
fn a_secret_of_unknown_age_counts_as_new() {
    for annotation in [None, Some("yesterday"), Some("2027-01-01T00:00:00Z")] {
        let mut scenario = rotating();
        scenario.apply();
        let old = scenario.text("bot-oauth", "client-secret");
        let annotations = scenario.secret("bot-oauth").metadata.annotations.get_or_insert_default();
        annotations.remove(ROTATED_AT_ANNOTATION);
        annotations.extend(annotation.map(|text| (ROTATED_AT_ANNOTATION.to_owned(), text.to_owned())));
        scenario.at("2026-03-01T10:30:00Z");
        let planned = scenario.apply();
        assert_eq!(scenario.text("bot-oauth", "client-secret"), old, "{annotation:?}");
        assert_eq!(only_client(&planned).rotated_at, Some(scenario.now), "{annotation:?}");
    }
}

#[test]
fn half_a_previous_secret_counts_for_nothing() {
    for damage in [PREVIOUS_HASH_ANNOTATION, PREVIOUS_EXPIRES_ANNOTATION] {
        let mut scenario = rotating();
        scenario.apply();
        scenario.at("2026-03-01T11:00:00Z");
        scenario.apply();
        scenario
            .secret("bot-oauth")
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(damage.to_owned(), "junk".to_owned());
        assert_eq!(verifiers(&scenario.plan()).get("bot").unwrap().secrets.len(), 1, "{damage}");
    }
}

#[test]
fn a_name_that_is_taken_is_left_alone() {
    let foreign = OwnerReference { uid: "other".to_owned(), ..OwnerReference::default() };
    for owners in [Some(vec![foreign]), None] {
        let mut scenario = rotating();
        scenario.apply();
        let metadata = &mut scenario.secret("bot-oauth").metadata;
        metadata.owner_references = owners;
        metadata.labels.get_or_insert_default().remove(crate::CLIENT_LABEL);
        let plan = scenario.plan();
        let taken = ClientProblem::SecretNameTaken { secret: "bot-oauth".to_owned() };
        assert_eq!(only_client(&plan).problem, Some(taken));
        assert!(plan.objects.iter().all(|planned| planned.name() != "bot-oauth"));
        assert_eq!(verifiers(&plan).get("bot"), None);
    }
}

#[test]
fn the_endpoints_own_secrets_are_no_clients() {
    for name in ["agents-clients", "agents-signing-keys"] {
        let spec = format!("scopes: [files:read]\nredirectUris: ['https://a.example/cb']\nsecret: {{name: {name}}}");
        let plan = PlanScenario::plain().with_client("bot", &spec).plan();
        assert_eq!(only_client(&plan).problem, Some(ClientProblem::SecretNameTaken { secret: name.to_owned() }));
        assert_eq!(plan.objects.iter().filter(|planned| planned.name() == name).count(), 1);
    }
}

#[test]
fn one_name_serves_one_client_and_its_holder_keeps_it() {
    let spec = "scopes: [files:read]\ngrants: [client_credentials]\nsecret: {name: shared}";
    let mut scenario = PlanScenario::plain().with_client("b", spec);
    scenario.apply();
    let mut scenario = scenario.with_client("a", spec);
    let problems = |plan: &Plan| plan.clients.iter().map(|client| client.problem.is_some()).collect::<Vec<_>>();
    assert_eq!(problems(&scenario.plan()), [true, false], "b had it first");
    scenario.secrets.clear();
    assert_eq!(problems(&scenario.plan()), [false, true], "nobody had it: the first by name");
}

#[test]
fn a_client_that_is_being_deleted_counts_no_more() {
    let mut scenario = rotating();
    scenario.apply();
    scenario.clients[0].metadata.deletion_timestamp = Some(Time(scenario.now));
    let plan = scenario.plan();
    assert!(plan.clients.is_empty() && verifiers(&plan).get("bot").is_none());
    assert!(plan.objects.iter().all(|planned| planned.name() != "bot-oauth"));
}

#[test]
fn an_existing_secret_is_checked_and_never_written() {
    let spec = "scopes: [files:read]\ngrants: [client_credentials]\nexistingSecret: {name: vault, key: pass}";
    let good = "0123456789abcdef0123456789abcdef";
    let secret = || "vault".to_owned();
    let missing = ClientProblem::SecretKeyMissing { secret: secret(), key: "pass".to_owned() };
    for (held, expected) in [
        (None, Some(ClientProblem::SecretNotFound { secret: secret(), endpoint: "agents".to_owned() })),
        (Some(("other", good.to_owned())), Some(missing.clone())),
        (Some(("pass", "\n".to_owned())), Some(missing)),
        (Some(("pass", good[1..].to_owned())), Some(ClientProblem::SecretTooShort { secret: secret() })),
        (Some(("pass", good.to_owned())), None),
        (Some(("pass", format!("{good}\n"))), None),
    ] {
        let mut scenario = PlanScenario::plain().with_client("bot", spec);
        if let Some((key, value)) = &held {
            let mut existing = Secret::default();
            set(&mut existing, key, value);
            scenario.secrets.insert(secret(), existing);
        }
        let plan = scenario.plan();
        assert_eq!(only_client(&plan).problem, expected, "{held:?}");
        assert_eq!(verifies(&plan, good, "2026-03-01T10:00:00Z"), expected.is_none(), "{held:?}");
        assert_eq!(only_client(&plan).secret_name.as_deref(), Some("vault"));
        assert!(plan.objects.iter().all(|planned| planned.name() != "vault"));
    }
}

#[test]
fn a_public_client_has_no_secret() {
    let plan = PlanScenario::plain().with_client("cursor", "preset: cursor\nscopes: [files:read]").plan();
    assert_eq!((&only_client(&plan).secret_name, &only_client(&plan).problem), (&None, &None));
    assert!(verifiers(&plan).get("cursor").unwrap().secrets.is_empty());
}

fn keys_file(planned: &PlannedObject) -> Vec<u8> {
    typed::<Secret>(planned).data.unwrap()["signing-keys.json"].0.clone()
}

#[test]
fn signing_keys_are_kept_byte_for_byte_and_healed_when_damaged() {
    let mut scenario = PlanScenario::plain();
    assert!(find(&scenario.apply(), "Secret", "agents-signing-keys").generated);
    let compact: serde_json::Value =
        serde_json::from_str(&scenario.text("agents-signing-keys", "signing-keys.json")).unwrap();
    set(scenario.secret("agents-signing-keys"), "signing-keys.json", &compact.to_string());
    let kept = scenario.plan_with(&mut NoRandomness).unwrap();
    let kept = find(&kept, "Secret", "agents-signing-keys");
    assert_eq!(keys_file(kept), compact.to_string().into_bytes());
    assert!(!kept.generated && kept.replaces.is_some());

    for damage in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kid":"a","createdAt":"2026-03-01T10:00:00Z","pem":"x"}]}"#]
    {
        set(scenario.secret("agents-signing-keys"), "signing-keys.json", damage);
        let plan = scenario.plan();
        let healed = find(&plan, "Secret", "agents-signing-keys");
        assert!(healed.generated && healed.replaces.is_some(), "{damage}");
        serde_json::from_slice::<portcullis_config::SigningKeys>(&keys_file(healed)).unwrap().validate().unwrap();
    }

    scenario.secret("agents-signing-keys").metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    assert!(matches!(scenario.try_plan(), Err(PlanError::NameTaken { secret }) if secret == "agents-signing-keys"));
}

#[test]
fn the_operator_is_known_to_the_servers_and_can_obtain_nothing() {
    let plan = PlanScenario::plain().plan();
    let verifiers = verifiers(&plan);
    let operator = verifiers.get(OPERATOR_CLIENT_ID).unwrap();
    assert!(operator.secrets.is_empty() && operator.grants.is_empty() && operator.scopes.is_empty());
    assert!(plan.clients.iter().all(|client| client.client_id != OPERATOR_CLIENT_ID));
}

#[test]
fn a_verifier_says_since_when_its_client_exists() {
    let mut scenario = rotating();
    scenario.at("2026-03-01T10:00:00Z");
    assert_eq!(verifiers(&scenario.plan()).get("bot").unwrap().registered_at, None);
    scenario.clients[0].metadata.creation_timestamp = Some(Time(scenario.now));
    assert_eq!(verifiers(&scenario.plan()).get("bot").unwrap().registered_at, Some(scenario.now));

    // After a restore from a backup with the Secret, it is the same client, and its tokens stay valid.
    scenario.apply();
    scenario.clients[0].metadata.creation_timestamp = Some(Time(time("2026-03-01T10:30:00Z")));
    scenario.at("2026-03-01T10:30:00Z");
    let rotated_at = Some(time("2026-03-01T10:00:00Z"));
    assert_eq!(verifiers(&scenario.plan()).get("bot").unwrap().registered_at, rotated_at);
    scenario.secrets.remove("bot-oauth");
    assert_eq!(verifiers(&scenario.plan()).get("bot").unwrap().registered_at, Some(scenario.now), "a namesake");
}

#[test]
fn with_an_issuer_elsewhere_clients_are_sent_there_and_get_no_secret() {
    let mut scenario =
        PlanScenario::new("url: https://mcp.example.com/mcp\nexternalIssuer: {issuerUrl: 'https://idp.example.com'}")
            .with_client("bot", ROTATING);
    let plan = scenario.plan();
    let client = only_client(&plan);
    let problem = client.problem.as_ref().unwrap();
    assert!(problem.to_string().contains("https://idp.example.com") && client.secret_name.is_none());
    assert!(verifiers(&plan).get("bot").is_none() && verifiers(&plan).get(OPERATOR_CLIENT_ID).is_some());
    assert!(!plan.objects.iter().any(|planned| planned.name() == "bot-oauth"));
}

/// Requests a rotation by the client's annotation.
fn ask(scenario: &mut PlanScenario, value: &str) {
    let annotations = scenario.clients[0].metadata.annotations.get_or_insert_default();
    annotations.insert(ROTATE_ANNOTATION.to_owned(), value.to_owned());
}

#[test]
fn a_secret_is_rotated_on_demand_with_an_overlap() {
    // Without a schedule, the overlap is the default of `overlap`: 30 minutes.
    for (spec, overlap) in
        [("scopes: [workspaces:read]\ngrants: [client_credentials]", "10:30:00Z"), (ROTATING, "10:10:00Z")]
    {
        let mut scenario = PlanScenario::plain().with_client("bot", spec);
        scenario.at("2026-03-01T09:30:00Z");
        scenario.apply();
        let old = scenario.text("bot-oauth", "client-secret");
        scenario.at("2026-03-01T10:00:00Z");
        ask(&mut scenario, "monday");
        let rotated = scenario.apply();
        let new = scenario.text("bot-oauth", "client-secret");
        assert_ne!(old, new);
        let client = only_client(&rotated);
        assert_eq!((client.change, client.rotated_for.as_deref()), (Some(CredentialChange::Rotated), Some("monday")));
        assert_eq!(client.rotated_at, Some(time("2026-03-01T10:00:00Z")));
        let end = format!("2026-03-01T{overlap}");
        assert!(verifies(&rotated, &old, "2026-03-01T10:09:59Z") && verifies(&rotated, &new, "2026-03-01T10:09:59Z"));
        assert!(!verifies(&rotated, &old, &end) && verifies(&rotated, &new, &end));
        assert_eq!(rotated.next_change, Some(time(&end)));

        // Neither the same value nor its removal requests another rotation.
        let again = scenario.plan_with(&mut NoRandomness).unwrap();
        assert_eq!(only_client(&again).change, None);
        scenario.clients[0].metadata.annotations = None;
        let without = scenario.plan_with(&mut NoRandomness).unwrap();
        assert_eq!(
            (only_client(&without).change, only_client(&without).rotated_for.as_deref()),
            (None, Some("monday"))
        );
    }
}

#[test]
fn a_second_request_in_an_overlap_waits_for_its_end() {
    let mut scenario =
        PlanScenario::plain().with_client("bot", "scopes: [workspaces:read]\ngrants: [client_credentials]");
    scenario.at("2026-03-01T10:00:00Z");
    scenario.apply();
    ask(&mut scenario, "one");
    scenario.apply();
    let first = scenario.text("bot-oauth", "client-secret");
    scenario.at("2026-03-01T10:10:00Z");
    ask(&mut scenario, "two");
    let waiting = scenario.plan_with(&mut NoRandomness).unwrap();
    let client = only_client(&waiting);
    assert_eq!((client.change, client.rotated_for.as_deref()), (None, Some("one")));
    let end = "2026-03-01T10:30:00Z";
    assert_eq!((client.next_rotation, waiting.next_change), (Some(time(end)), Some(time(end))));
    scenario.at(end);
    let rotated = scenario.apply();
    assert_eq!(only_client(&rotated).rotated_for.as_deref(), Some("two"));
    assert!(verifies(&rotated, &first, "2026-03-01T10:59:59Z") && !verifies(&rotated, &first, "2026-03-01T11:00:00Z"));
}

#[test]
fn a_request_from_before_the_secret_is_met_by_it() {
    let mut scenario = rotating();
    ask(&mut scenario, "early");
    let first = scenario.apply();
    assert_eq!(only_client(&first).change, Some(CredentialChange::Created));
    assert_eq!(only_client(&first).rotated_for.as_deref(), Some("early"));
    assert_eq!(only_client(&scenario.plan_with(&mut NoRandomness).unwrap()).change, None);
    // A scheduled rotation fulfils a request too, and so does a new secret for a damaged one, which has no overlap.
    ask(&mut scenario, "at its time");
    scenario.at("2026-03-01T11:00:00Z");
    assert_eq!(only_client(&scenario.apply()).rotated_for.as_deref(), Some("at its time"));
    ask(&mut scenario, &"x".repeat(1000));
    set(scenario.secret("bot-oauth"), "client-secret", "");
    let healed = scenario.apply();
    assert_eq!(only_client(&healed).change, Some(CredentialChange::Healed));
    assert_eq!(only_client(&healed).rotated_for, Some("x".repeat(128)));
    assert_eq!(only_client(&scenario.plan_with(&mut NoRandomness).unwrap()).change, None);
}
