//! Attacks on the audit trail: forged lines, made-up request ids, floods, and refusals that leave no event.

use crate::{
    agent::{Answer, authorize},
    stage::{CALLBACK, PASSWORD, SECRET, Setup, Stage, after},
};
use portcullis_telemetry::audit::Event;
use serde_json::{Value, json};

/// Looks like a line of the audit, in JSON and in text, with colours of a terminal.
const FORGED: &str = "x\"}\r\n{\"target\":\"audit\",\"fields\":{\"event\":\"grant.forged\"}}\n\u{1b}[31mINFO audit: event=\"grant.forged\"";

/// With tools, and with clients that register themselves.
fn open(setup: &mut Setup) {
    let policy = json!({"dynamicRegistration": {"lifetime": "1h", "maxClients": 100, "scopes": ["files:read"]}});
    setup.config.client_policy = serde_json::from_value(policy).unwrap();
    setup.workspaces = true;
}

fn request_id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

/// The events of one request.
fn events_of(stage: &Stage, id: &str) -> Vec<Value> {
    let names = Event::SCHEMA.iter().map(|event| event.name);
    names.flat_map(|name| stage.audit(name)).filter(|event| event["request_id"] == id).collect()
}

/// Lines of the audit are put into client ids, redirect URIs, scopes, grant types, user names, paths and tools → each
/// audit line is one that the schema knows, and none has the forged text.
#[tokio::test]
async fn forged_lines() {
    let stage = Stage::with(open).await;
    let mut browser = stage.browser();
    browser.sign_in("/login", FORGED, PASSWORD).await;
    for form in [
        [("grant_type", FORGED), ("client_id", "backend"), ("client_secret", SECRET), ("scope", "files:read")],
        [("grant_type", "client_credentials"), ("client_id", FORGED), ("client_secret", SECRET), ("scope", FORGED)],
        [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", SECRET), ("scope", FORGED)],
        [("grant_type", "refresh_token"), ("client_id", "agent"), ("refresh_token", FORGED), ("scope", FORGED)],
    ] {
        assert!(stage.token(&form).await.status.is_client_error(), "{form:?}");
    }
    for (name, uri) in [(FORGED, CALLBACK), ("agent", FORGED), ("agent", "https://evil.test/\n{\"target\":\"audit\"}")]
    {
        let body = json!({"client_name": name, "redirect_uris": [uri], "token_endpoint_auth_method": "none"});
        stage.send(stage.http.post(format!("{}/register", stage.origin)).json(&body)).await;
    }
    let tokens = stage.tokens().await;
    for params in [
        json!({"name": FORGED, "arguments": {}}),
        json!({"name": "get_workspace", "arguments": {"workspace": FORGED}}),
        json!({"name": "whoami", "arguments": {"workspace": FORGED}}),
    ] {
        stage.call_at(0, &tokens.access, "tools/call", params).await;
    }
    stage.call(FORGED.lines().next().unwrap()).await;
    assert!(stage.audit("grant.forged").is_empty());
    let events = Event::SCHEMA.iter().flat_map(|event| stage.audit(event.name));
    let forged = events.filter(|event| event.to_string().contains("grant.forged"));
    assert_eq!(forged.collect::<Vec<_>>(), Vec::<Value>::new());
    stage.stop().await;
}

/// A request brings an `X-Request-Id` of its own: somebody else's, overlong, or with markup or quotes → only a trusted
/// proxy's counts, and only a short and safe one; everything else is replaced.
#[tokio::test]
async fn made_up_request_ids() {
    const OWN: &str = "0af7651916cd43dd8448eb211c80319c";
    let long = "a".repeat(65);
    let ask = async |stage: &Stage, id: &str| {
        let request = stage.http.get(format!("{}/login", stage.origin)).header("X-Request-Id", id);
        let answer = stage.send(request).await;
        assert_eq!(answer.status, 200);
        request_id(&answer)
    };
    let stage = Stage::start().await;
    let ids = [ask(&stage, OWN).await, ask(&stage, OWN).await];
    assert!(ids[0] != OWN && ids[0] != ids[1], "{ids:?}");
    stage.stop().await;

    let trusted = |setup: &mut Setup| {
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let stage = Stage::with(trusted).await;
    assert_eq!(ask(&stage, OWN).await, OWN);
    for id in [long.as_str(), "<script>alert(1)</script>", "a\"b", "a b", "a;b", "../../x", "${jndi:ldap://x}", ""] {
        let given = ask(&stage, id).await;
        assert!(given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}: {given}");
    }
    let twice = stage.http.get(format!("{}/login", stage.origin)).header("X-Request-Id", OWN);
    let answer = stage.send(twice.header("X-Request-Id", "other")).await;
    assert_ne!(request_id(&answer), OWN);
    stage.stop().await;
}

/// Thousands of requests with forged tokens, or from a page of another origin → one audit event at once, then one a
/// minute with their number, so that the log of an attack stays small.
#[tokio::test]
async fn a_flood_of_refusals() {
    const MANY: u64 = 500;
    let stage = Stage::start().await;
    let count = |event: &str, reason: &str| {
        let events = stage.audit(event);
        let mine = events.iter().filter(|event| event["reason"] == reason);
        mine.map(|event| event["count"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let from_a_page = async || {
        let request = stage.http.post(format!("{}/mcp", stage.origin)).header("Origin", "https://evil.test");
        assert_eq!(stage.send(request).await.status, 403);
    };
    // Other tests of this program share the log: what they refuse at the same time is more than nothing.
    let (tokens_before, pages_before) =
        (count("access_token.refused", "malformed").len(), count("request.refused", "origin_not_allowed").len());
    for _ in 0..MANY {
        assert_eq!(stage.status("not.a.token-at-all").await, 401);
        from_a_page().await;
    }
    let lines = count("access_token.refused", "malformed").len() - tokens_before;
    assert!((1..=50).contains(&lines), "{lines} lines for {MANY} forged tokens");
    let lines = count("request.refused", "origin_not_allowed").len() - pages_before;
    assert!((1..=50).contains(&lines), "{lines} lines for {MANY} requests of a page");
    // A minute later the next one says how many there were.
    stage.clock.set(after(61));
    stage.status("not.a.token-at-all").await;
    from_a_page().await;
    for (event, reason) in [("access_token.refused", "malformed"), ("request.refused", "origin_not_allowed")] {
        let mut counts = count(event, reason);
        // The periodic tidying may have been quicker with those before the last one.
        counts.retain(|count| *count >= MANY - 1);
        assert_eq!(counts.len(), 1, "{event}: {counts:?}");
    }
    stage.stop().await;
}

/// Something is tried and refused: a token, a scope, an address, an origin, a size, a form, a client, a code → the
/// response names the request, and its audit event names it too, with the address.
#[tokio::test]
async fn refusals_without_a_trace() {
    let stage = Stage::with(open).await;
    let tokens = stage.tokens().await;
    let url = |path: &str| format!("{}{path}", stage.origin);
    let bearer = |token: &str| stage.http.post(url("/mcp")).bearer_auth(token);
    let call = |name: &str| {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}});
        bearer(&tokens.access).header("Accept", "application/json").json(&body)
    };
    let machine = |secret: &'static str, scope: &'static str| {
        let form = [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", secret)];
        stage.form(0, "/token", &[&form[..], &[("scope", scope)]].concat())
    };
    let mut browser = stage.signed_in("ada").await;
    let form = browser.get(&authorize(&[])).await.form("/consent");
    let consent = stage.http.post(url("/consent")).form(&form.0).header("Origin", "https://evil.test");
    for (request, event, reason) in [
        (bearer("a.b.c"), "access_token.refused", "malformed"),
        (call("run_command"), "scope.refused", ""),
        (call("whoami").header("Origin", "https://evil.test"), "request.refused", "origin_not_allowed"),
        (call("whoami").body(vec![b' '; (1 << 20) + 1]), "request.refused", "too_large"),
        (consent, "form.refused", "other_site"),
        (machine("wrong-secret-of-backend", "files:read"), "client.refused", "wrong_credentials"),
        (machine(SECRET, "admin"), "token.refused", "invalid_scope"),
        (stage.http.post(url("/register")).json(&json!({})), "registration.refused", ""),
    ] {
        let answer = stage.send(request).await;
        assert!(answer.status.is_client_error(), "{event} {reason}: {answer:?}");
        let events = events_of(&stage, &request_id(&answer));
        let found = events.iter().find(|found| found["event"] == event);
        let found = found.unwrap_or_else(|| panic!("{event} {reason} is missing: {events:?} {answer:?}"));
        assert_eq!(found["address"], "127.0.0.1", "{found}");
        assert!(reason.is_empty() || found["reason"] == reason, "{found}");
    }
    let mine = |event: &Value| event["grant"] == tokens.grant;
    let refused = stage.audit("scope.refused").into_iter().find(mine).unwrap();
    assert_eq!((&refused["tool"], &refused["scope"]), (&json!("run_command"), &json!("workspaces:exec")));
    stage.stop().await;

    let closed = Stage::with(|setup| setup.config.access.allowed_cidrs = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let answer = closed.send(closed.http.get(format!("{}/login", closed.origin))).await;
    assert_eq!(answer.status, 403);
    let events = events_of(&closed, &request_id(&answer));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["reason"], "address_not_allowed");
    assert!(answer.text.contains(&request_id(&answer)), "the page shows the id: {}", answer.text);
    closed.stop().await;
}
