use crate::gc::*;
use kube::ResourceExt as _;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, uid: &str, created: i64, spec: &Value) -> Arc<K> {
    let value = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": "dev", "uid": uid, "creationTimestamp": at(created)},
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn endpoint(uid: &str) -> Arc<Guarded<McpEndpoint>> {
    object("McpEndpoint", "agents", uid, 0, &json!({"url": "https://mcp.example.com/mcp"}))
}

fn client(name: &str, uid: &str, created: i64, registered_until: Option<i64>) -> Arc<Guarded<OAuthClient>> {
    let mut spec = json!({"endpointRef": {"name": "agents"}, "scopes": ["files:read"]});
    if let Some(until) = registered_until {
        spec["registration"] = json!({"expiresAt": at(until)});
    }
    object("OAuthClient", name, uid, created, &spec)
}

fn grant(name: &str, client: &str, created: i64, more: &Value) -> Arc<Guarded<OAuthGrant>> {
    let mut spec = json!({
        "endpointRef": {"name": "agents"}, "clientId": client, "user": {"id": "local:ann", "name": "ann"},
        "scopes": ["files:read"], "resource": "https://mcp.example.com/mcp", "expiresAt": at(100_000),
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object("OAuthGrant", name, name, created, &spec)
}

fn ends(decisions: &Decisions) -> Vec<(String, EndReason)> {
    let grants = decisions.grants.iter().map(|(grant, end)| (grant.name_any(), *end));
    let clients = decisions.clients.iter().map(|(client, end)| (client.name_any(), *end));
    grants.chain(clients).collect()
}

fn ended(name: &str, end: EndReason) -> (String, EndReason) {
    (name.to_owned(), end)
}

#[test]
fn a_client_that_goes_after_a_long_rest_takes_its_grants_along() {
    let mut gc = GarbageCollector::default();
    let clients = vec![client("claude", "c", 0, None)];
    let grants = vec![grant("a", "claude", 1, &json!({}))];
    let mut observed = ObservedGrants { endpoints: vec![endpoint("e")], clients, grants };
    assert_eq!(ends(&gc.decide(&observed, at(10))), []);
    observed.clients.clear();
    assert_eq!(ends(&gc.decide(&observed, at(10_000))), [ended("a", EndReason::ClientGone)]);
}

#[test]
fn the_next_run_is_when_the_next_object_ends() {
    let next = |grants: Vec<Arc<Guarded<OAuthGrant>>>, registered_until: i64| {
        let clients = vec![client("claude", "c", 0, None), client("dyn-1", "d", 0, Some(registered_until))];
        GarbageCollector::default()
            .decide(&ObservedGrants { endpoints: vec![endpoint("e")], clients, grants }, at(1000))
            .next
    };
    let revoked = json!({"revoked": {"at": at(500), "reason": "ByUser"}});
    assert_eq!(next(vec![], 9000), Some(at(9000)), "a registration");
    assert_eq!(next(vec![grant("a", "claude", 1, &json!({"expiresAt": at(7000)}))], 9000), Some(at(7000)));
    assert_eq!(next(vec![grant("a", "claude", 1, &revoked)], 9000), Some(at(500 + 3600)));
    assert_eq!(next(vec![grant("a", "gone", 1, &json!({}))], 9000), Some(at(1060)), "a client may come");
    let expired = vec![grant("a", "claude", 1, &json!({"expiresAt": at(999)}))];
    assert_eq!(next(expired, 9000), Some(at(9000)), "what has ended is collected now");
}

#[test]
fn what_has_ended_is_named_and_the_rest_is_counted() {
    let revoked = |at_second: i64| json!({"revoked": {"at": at(at_second), "reason": "ByUser"}});
    let observed = ObservedGrants {
        endpoints: vec![endpoint("e")],
        clients: vec![
            client("claude", "c", 0, None),
            client("dyn-1", "d", 0, Some(5000)),
            client("dyn-2", "f", 0, Some(9000)),
        ],
        grants: vec![
            grant("active", "claude", 1, &json!({})),
            grant("by-document", "https://claude.ai/client.json", 1, &json!({})),
            grant("expired", "claude", 1, &json!({"expiresAt": at(5000)})),
            grant("revoked", "claude", 1, &revoked(4000)),
            grant("revoked-long-ago", "claude", 1, &revoked(1400)),
        ],
    };
    let decisions = GarbageCollector::default().decide(&observed, at(5000));
    let expected = [
        ended("expired", EndReason::Expired),
        ended("revoked-long-ago", EndReason::Revoked),
        ended("dyn-1", EndReason::Expired),
    ];
    assert_eq!(ends(&decisions), expected);
    let name = |name: &str| ("dev".to_owned(), name.to_owned());
    assert_eq!(decisions.active.of_endpoints, [(name("agents"), 2)].into());
    assert_eq!(decisions.active.of_clients, [(name("claude"), 1), (name("https://claude.ai/client.json"), 1)].into());
}

#[test]
fn a_grant_ends_with_its_client_and_with_its_endpoint() {
    let grants = vec![grant("g", "claude", 10, &json!({}))];
    let all = |endpoint: Vec<_>, client: Vec<_>| ObservedGrants {
        endpoints: endpoint,
        clients: client,
        grants: grants.clone(),
    };
    let whole = all(vec![endpoint("e")], vec![client("claude", "c", 0, None)]);

    let mut gc = GarbageCollector::default();
    assert!(ends(&gc.decide(&whole, at(20))).is_empty());
    let gone = gc.decide(&all(vec![endpoint("e")], vec![]), at(25));
    assert_eq!(ends(&gone), [ended("g", EndReason::ClientGone)]);

    let mut gc = GarbageCollector::default();
    gc.decide(&whole, at(20));
    let replaced = gc.decide(&all(vec![endpoint("e")], vec![client("claude", "c2", 24, None)]), at(25));
    assert_eq!(ends(&replaced), [ended("g", EndReason::ClientGone)], "it was for another client of that name");

    let mut gc = GarbageCollector::default();
    gc.decide(&whole, at(20));
    let gone = gc.decide(&all(vec![], vec![client("claude", "c", 0, None)]), at(25));
    assert_eq!(ends(&gone), [ended("g", EndReason::EndpointGone)]);
}

#[test]
fn a_restored_grant_waits_for_its_parents() {
    let grants = vec![grant("g", "claude", 10, &json!({}))];
    let mut gc = GarbageCollector::default();
    let alone = ObservedGrants { grants: grants.clone(), ..ObservedGrants::default() };
    assert!(ends(&gc.decide(&alone, at(20))).is_empty());
    assert!(ends(&gc.decide(&alone, at(79))).is_empty());
    assert_eq!(ends(&gc.decide(&alone, at(80))), [ended("g", EndReason::EndpointGone)]);
    // Restored a little later, and so with a later birth than the grant's.
    let whole =
        ObservedGrants { endpoints: vec![endpoint("e")], clients: vec![client("claude", "c", 79, None)], grants };
    assert!(ends(&gc.decide(&whole, at(80))).is_empty());
}

#[test]
fn a_grant_that_comes_after_its_parents_went_waits_for_them_too() {
    let whole = |created: i64, uid: &str| ObservedGrants {
        endpoints: vec![object("McpEndpoint", "agents", uid, created, &json!({"url": "https://mcp.example.com/mcp"}))],
        clients: vec![client("claude", uid, created, None)],
        grants: vec![],
    };
    let with = |observed: &ObservedGrants, born: i64| ObservedGrants {
        grants: vec![grant("g", "claude", born, &json!({}))],
        ..observed.clone()
    };
    let mut gc = GarbageCollector::default();
    for (round, uid) in [(0, "one"), (100, "two")] {
        let first = whole(round, uid);
        assert!(ends(&gc.decide(&with(&first, round + 5), at(round + 10))).is_empty());
        // A restore into the same namespace: the same operator saw everything go.
        assert!(ends(&gc.decide(&ObservedGrants::default(), at(round + 20))).is_empty());
        let alone = with(&ObservedGrants::default(), round + 25);
        assert!(ends(&gc.decide(&alone, at(round + 26))).is_empty());
        assert!(ends(&gc.decide(&alone, at(round + 40))).is_empty());
        let restored = with(&whole(round + 45, &format!("{uid} again")), round + 25);
        assert!(ends(&gc.decide(&restored, at(round + 46))).is_empty());
        assert!(ends(&gc.decide(&restored, at(round + 56))).is_empty());
        // What was not deleted with the others is from before.
        let left = with(&whole(round + 45, &format!("{uid} again")), round + 5);
        assert_eq!(ends(&gc.decide(&left, at(round + 60))), [ended("g", EndReason::EndpointGone)]);
    }
}
