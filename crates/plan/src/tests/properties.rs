//! Properties of every plan.

use crate::tests::{NoRandomness, PlanScenario, find};
use crate::{ENDPOINT_LABEL, Plan};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

const EVERYTHING: &str = "url: https://mcp.example.com/mcp
cors: {allowedOrigins: ['https://claude.ai', 'https://*.example.com']}
deployment: {autoscaling: {min: 2, max: 4}}";

fn scenario(interval: u64, overlap: u64) -> PlanScenario {
    let rotating = format!(
        "scopes: [files:read]\ngrants: [client_credentials]\nsecret: {{rotation: {{interval: {interval}s, overlap: {overlap}s}}}}"
    );
    PlanScenario::new(EVERYTHING)
        .with_client("rotating", &rotating)
        .with_client("lasting", "preset: claude\nscopes: [workspaces:exec]")
        .with_client("public", "preset: cursor\nscopes: [workspaces:read]")
}

fn contents(plan: &Plan) -> Vec<&kube::core::DynamicObject> {
    plan.objects.iter().map(|planned| &planned.object).collect()
}

fn schedule() -> impl Strategy<Value = (u64, u64)> {
    (3600_u64..100_000).prop_flat_map(|interval| (proptest::strategy::Just(interval), 0..interval))
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_plan_fed_with_its_own_secrets_says_the_same_without_randomness(
        (interval, overlap) in schedule(),
        steps in proptest::collection::vec(1_i64..200_000, 1..6),
        in_cluster in any::<bool>(),
    ) {
        let mut scenario = scenario(interval, overlap);
        if !in_cluster {
            scenario = scenario.without_cluster();
        }
        for step in steps {
            scenario.now += SignedDuration::from_secs(step);
            let applied = scenario.apply();
            let again = scenario.plan_with(&mut NoRandomness)?;
            prop_assert_eq!(contents(&applied), contents(&again));
            prop_assert_eq!(&applied.revision, &again.revision);
            prop_assert_eq!(applied.next_change, again.next_change);
            prop_assert!(again.objects.iter().all(|planned| !planned.generated));
            prop_assert!(again.clients.iter().all(|client| client.change.is_none()));
        }
    }

    #[test]
    fn nothing_changes_before_next_change_and_something_does_then(
        (interval, overlap) in schedule(),
        rotations in 1..4,
        early in 1_i64..3600,
    ) {
        let mut scenario = scenario(interval, overlap);
        for _ in 0..rotations {
            let applied = scenario.apply();
            let next = applied.next_change.unwrap();
            let start = scenario.now;
            scenario.now = start.max(next - SignedDuration::from_secs(early));
            let early = scenario.plan_with(&mut NoRandomness)?;
            prop_assert_eq!(contents(&applied), contents(&early));
            scenario.now = next;
            prop_assert!(applied.revision != scenario.plan().revision);
        }
    }
}

#[test]
fn the_order_of_inputs_does_not_matter() {
    let mut forth = scenario(3600, 60);
    let mut back = scenario(3600, 60);
    back.clients.reverse();
    assert_eq!(forth.plan(), back.plan());
}

#[test]
fn a_clients_secret_is_nowhere_but_in_its_own_secret() {
    let mut scenario = scenario(3600, 60);
    let plan = scenario.apply();
    for (name, client) in [("rotating-oauth", "rotating"), ("lasting-oauth", "lasting")] {
        let secret = scenario.text(name, "client-secret");
        assert!(secret.starts_with("pcs_"), "{client}");
        let encoded = STANDARD.encode(&secret);
        for planned in plan.objects.iter().filter(|planned| planned.name() != name) {
            let text = serde_json::to_string(&planned.object).unwrap();
            let decoded =
                scenario.secrets.get(planned.name()).map(|secret| format!("{:?}", secret.data)).unwrap_or_default();
            assert!(!text.contains(&secret) && !text.contains(&encoded), "{} {}", planned.kind(), planned.name());
            assert!(!decoded.contains(&encoded), "{} {}", planned.kind(), planned.name());
        }
        assert!(!format!("{:?} {:?} {:?}", plan.config, plan.clients, plan.cors_note).contains(&secret));
    }
    // Data in an object is base64, so secrets within a larger text are searched for in the decoded files.
    for (name, key) in [("agents-clients", "clients.json"), ("agents-signing-keys", "signing-keys.json")] {
        assert!(!scenario.text(name, key).contains("pcs_"), "{name}");
    }
}

#[test]
fn every_object_has_the_label_and_an_owner() {
    let plan = scenario(3600, 60).plan();
    for planned in &plan.objects {
        let metadata = &planned.object.metadata;
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(ENDPOINT_LABEL));
        assert_eq!(label.map(String::as_str), Some("agents"), "{}", planned.name());
        let [owner] = metadata.owner_references.as_deref().unwrap() else { panic!("one owner") };
        let expected = if planned.name().ends_with("-oauth") { "OAuthClient" } else { "McpEndpoint" };
        assert_eq!(owner.kind, expected, "{}", planned.name());
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        assert_eq!(metadata.namespace.as_deref(), Some("dev"));
    }
    assert_eq!(
        find(&plan, "Secret", "rotating-oauth").object.metadata.owner_references.as_ref().unwrap()[0].uid,
        "rotating-uid"
    );
}
