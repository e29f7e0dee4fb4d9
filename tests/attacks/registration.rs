//! Clients that register themselves, where an administrator lets them (RFC 7591), and what they would like to be.

use crate::{
    agent::{Answer, authorize},
    clock::ManualClock,
    stage::{Setup, Stage, after, start_of_time},
};
use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use portcullis_core::clock::Clock as _;
use portcullis_oauth::{
    client::{Client, ClientError, Held, NewRegistration, Registrations},
    clients::registrar::Registrar,
};
use portcullis_state::Local;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn open(max_clients: u32) -> impl FnOnce(&mut Setup) {
    let policy = json!({"dynamicRegistration":
        {"lifetime": "1h", "maxClients": max_clients, "scopes": ["workspaces:read", "files:read"]}});
    move |setup| {
        setup.config.client_policy = serde_json::from_value(policy).unwrap();
        // So that each request can come from an address of its own, below the rate.
        setup.config.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    }
}

fn metadata(more: &Value) -> Value {
    let mut metadata = json!({"client_name": "An agent", "redirect_uris": ["https://agent.example.com/callback"],
        "token_endpoint_auth_method": "none"});
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    metadata
}

async fn register(stage: &Stage, from: usize, metadata: &Value) -> Answer {
    let request = stage.http.post(format!("{}/register", stage.origin)).json(metadata);
    stage.send(request.header("X-Forwarded-For", format!("198.51.100.{from}"))).await
}

/// Somebody registers though the administrator did not open that → there is no such path, and the metadata name none.
#[tokio::test]
async fn registration_that_is_off() {
    let stage = Stage::start().await;
    assert_eq!(register(&stage, 1, &metadata(&json!({}))).await.status, 404);
    let url = format!("{}/.well-known/oauth-authorization-server", stage.origin);
    assert!(stage.send(stage.http.get(url)).await.json().get("registration_endpoint").is_none());
    stage.stop().await;
}

/// A callback is registered that browsers run, that is plain http, has a fragment, user information or dots, or a
/// pattern → refused.
#[tokio::test]
async fn hostile_callbacks() {
    let stage = Stage::with(open(100)).await;
    for (index, uri) in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://agent.example.com/callback",
        "http://localhost.evil.test/callback",
        "https://agent.example.com/{id}",
        "https://agent.example.com/#x",
        "https://user@agent.example.com/",
        "https://agent.example.com/../x",
        "https://agent.example.com/\r\nX: y",
        "//agent.example.com/",
        "",
        "file:///etc/passwd",
        "intent://evil#Intent;end",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = register(&stage, index, &metadata(&json!({"redirect_uris": [uri]}))).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "invalid_redirect_uri"), "{uri}");
    }
    stage.stop().await;
}

/// A name holds markup, or is endless → shown as plain, short text, as of somebody whom nobody checked.
#[tokio::test]
async fn a_name_with_markup() {
    let stage = Stage::with(open(100)).await;
    let mut browser = stage.signed_in("ada").await;
    let long = "x".repeat(2000);
    for (index, name) in ["Claude<script>alert(1)</script>", "<img src=x onerror=y>", &long].into_iter().enumerate() {
        let answer = register(&stage, index, &metadata(&json!({"client_name": name}))).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = answer.json()["client_id"].as_str().unwrap().to_owned();
        let page = browser.get(&authorize(&[("client_id", &id)])).await;
        assert_eq!(page.status, 200);
        for markup in ["<script", "<img", &"x".repeat(100)] {
            assert!(!page.html.contains(markup), "{markup:?}");
        }
        assert!(page.text().contains("nobody checked it"), "{}", page.text());
    }
    stage.stop().await;
}

/// A name imitates another by letters of another script, or a verification by check marks, locks, or the words of the consent
/// page; it stacks accents, or hides or turns letters → refused, and the answer says why. Honest names of one
/// script are taken.
#[tokio::test]
async fn a_name_that_misleads() {
    let stage = Stage::with(open(1000)).await;
    let stacked = format!("Claude{}", "\u{301}".repeat(41));
    for (index, (name, why)) in [
        ("Claude ✔ Set up by your platform team", "symbols"),
        ("Claude, set up by your platform team", "consent page"),
        ("Claude (verified)", "consent page"),
        ("🔒 Claude", "symbols"),
        ("\u{421}laude", "scripts"),
        ("Cl\u{430}ude Code", "scripts"),
        (&stacked, "combining marks"),
        ("Claude\u{202e}edoC", "direction"),
        ("\u{200b}Claude\u{0}", "invisible"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = register(&stage, index, &metadata(&json!({"client_name": name}))).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "invalid_client_metadata"), "{name}");
        assert!(answer.text.contains(why), "{name}: {}", answer.text);
    }
    for (index, name) in ["Claude Code", "日本語の助手", "Русский помощник", "Клод"].into_iter().enumerate()
    {
        let answer = register(&stage, 100 + index, &metadata(&json!({"client_name": name}))).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["client_name"]), (201, &json!(name)));
    }
    assert_eq!(stage.state.held(after(0)).len(), 4);
    stage.stop().await;
}

/// A client chooses its own id, a secret, more scopes or other grants → it gets none of them.
#[tokio::test]
async fn more_than_a_registration_gives() {
    let stage = Stage::with(open(100)).await;
    let wishes = json!({"client_id": "agent", "client_secret": "chosen by the client itself", "scope": "workspaces:exec",
        "token_endpoint_auth_method": "client_secret_basic", "software_statement": "a.b.c"});
    let answer = register(&stage, 1, &metadata(&wishes)).await.json();
    assert!(answer["client_id"].as_str().unwrap().starts_with("dyn-"));
    assert_eq!((answer.get("client_secret"), &answer["token_endpoint_auth_method"]), (None, &json!("none")));
    assert_eq!(answer["scope"], "workspaces:read files:read");
    for (index, wish) in [
        json!({"grant_types": ["client_credentials"]}),
        json!({"response_types": ["token"]}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://169.254.169.254/"}),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = register(&stage, index + 2, &metadata(&wish)).await;
        assert_eq!(refused.error(), "invalid_client_metadata", "{wish}");
    }
    let more = json!({"grant_types": ["authorization_code", "password", "client_credentials"]});
    let more = register(&stage, 9, &metadata(&more)).await.json();
    assert_eq!(more["grant_types"], json!(["authorization_code", "refresh_token"]));
    let credentials = [("grant_type", "client_credentials"), ("client_id", more["client_id"].as_str().unwrap())];
    assert_eq!(stage.token(&credentials).await.error(), "unauthorized_client");
    let id = answer["client_id"].as_str().unwrap();
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get(&authorize(&[("client_id", id), ("scope", "workspaces:exec")])).await;
    assert_eq!(page.status, 400, "{}", page.text());
    let own = stage.token(&[("grant_type", "client_credentials"), ("client_id", id)]).await;
    assert_eq!(own.error(), "unauthorized_client");
    stage.stop().await;
}

/// Somebody registers their own site, to have this server send people there with a request that fails (RFC 9700
/// §4.11.2) → a page: nobody is sent to a client that nobody checked before they were asked.
#[tokio::test]
async fn a_registration_as_an_open_redirect() {
    let stage = Stage::with(open(100)).await;
    let answer = register(&stage, 1, &metadata(&json!({"redirect_uris": ["https://evil.test/lure"]}))).await.json();
    let (id, mut browser) = (answer["client_id"].as_str().unwrap(), stage.browser());
    for wrong in [("response_type", "token"), ("scope", "nonsense"), ("code_challenge", ""), ("prompt", "none")] {
        let request = authorize(&[("client_id", id), ("redirect_uri", "https://evil.test/lure"), wrong]);
        let page = browser.get(&request).await;
        assert_eq!(page.status, 400, "{wrong:?}");
        assert!(!page.headers.contains_key("location"), "{wrong:?}");
    }
    stage.stop().await;
}

/// Registrations are made by the thousand from one address → a rate for the address, and a tenth of all places until users
/// approve its clients.
#[tokio::test]
async fn a_flood_of_registrations_from_one_address() {
    let stage = Stage::with(open(50)).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(register(&stage, 1, &metadata(&json!({}))).await.status.as_u16());
    }
    assert_eq!(statuses, [[201; 5].as_slice(), &[429; 7]].concat(), "a share first, then ten a minute");
    let refused = register(&stage, 1, &metadata(&json!({}))).await;
    assert_eq!(refused.status, 429);
    assert_eq!(register(&stage, 2, &metadata(&json!({}))).await.status, 201, "another address has its own");
    assert_eq!(stage.state.held(after(0)).len(), 6);
    stage.stop().await;
}

/// Many registrations of one address come at the same instant, so that none has been counted yet → no more than its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_at_the_same_instant() {
    let stage = Stage::with(open(30)).await;
    let (from, like_all) = (1, metadata(&json!({})));
    let answers = join_all((0..9).map(|_| register(&stage, from, &like_all))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 201 | 429)));
    assert_eq!(stage.state.held(after(0)).len(), 3);
    stage.stop().await;
}

/// Ten addresses take all places in a moment, to keep everybody else out for ninety days → an honest client registers at
/// once, in the place of one of theirs, and finishes its sign-in; the audit names what was deleted.
#[tokio::test]
async fn ten_addresses_that_take_all_places() {
    let stage = Stage::with(open(30)).await;
    for from in 1..=10 {
        for _ in 0..3 {
            assert_eq!(register(&stage, from, &metadata(&json!({}))).await.status, 201, "{from}");
        }
    }
    let honest = register(&stage, 77, &metadata(&json!({}))).await;
    assert_eq!(honest.status, 201, "{}", honest.text);
    let id = honest.json()["client_id"].as_str().unwrap().to_owned();
    // They go on: each takes its place from another of theirs.
    for from in 1..=10 {
        register(&stage, from, &metadata(&json!({}))).await;
    }
    assert_eq!(stage.state.held(after(0)).len(), 30);
    let code = stage.code(&[("client_id", &id)]).await;
    let tokens = stage.redeem(&code, &[("client_id", &id)]).await.tokens();
    assert_eq!(stage.status(&tokens.access).await, 200);
    assert!(!stage.audit("client.evicted").is_empty());
    stage.stop().await;
}

/// All places are taken by clients that users approved, or that registered in the last ten minutes from addresses within
/// their share → none of them is deleted; the newcomer waits, and later takes the place of the oldest that nobody approved.
#[tokio::test]
async fn a_client_in_use_keeps_its_place() {
    let stage = Stage::with(open(5)).await;
    let mut ids = Vec::new();
    for from in 1..=4 {
        let answer = register(&stage, from, &metadata(&json!({}))).await.json();
        ids.push(answer["client_id"].as_str().unwrap().to_owned());
        stage.clock.set(after(i64::try_from(from).unwrap()));
    }
    let approved = [("client_id", ids[0].as_str())];
    let tokens = stage.redeem(&stage.code(&approved).await, &approved).await.tokens();
    stage.clock.set(after(601 + 1));
    let known = |id: &str| stage.state.held(stage.clock.now()).iter().any(|held| held.client_id == id);
    for (from, gone) in [(5, None), (6, Some(1)), (7, Some(2))] {
        // The first of these still finds a place.
        stage.clock.set(after(601 + i64::try_from(from).unwrap()));
        assert_eq!(register(&stage, from, &metadata(&json!({}))).await.status, 201, "{from}");
        assert!(gone.is_none_or(|gone| !known(&ids[gone])), "{from}");
        assert!(known(&ids[0]), "an approved client is never deleted");
    }
    assert!(known(&ids[3]));
    assert_eq!(register(&stage, 8, &metadata(&json!({}))).await.status, 201);
    assert!(!known(&ids[3]));
    // All are in use now, or young.
    let full = register(&stage, 9, &metadata(&json!({}))).await;
    assert_eq!((full.status.as_u16(), full.error().as_str()), (503, "temporarily_unavailable"), "{}", full.text);
    assert!(full.headers.contains_key("retry-after"));
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.stop().await;
}

/// A registration is used after its time → the client is unknown, and so are its tokens.
#[tokio::test]
async fn a_registration_that_has_ended() {
    let stage = Stage::with(open(100)).await;
    let answer = register(&stage, 1, &metadata(&json!({}))).await.json();
    let id = answer["client_id"].as_str().unwrap();
    let code = stage.code(&[("client_id", id)]).await;
    let tokens = stage.redeem(&code, &[("client_id", id)]).await.tokens();
    stage.clock.set(after(3599));
    let renewed = stage.refresh(&tokens.refresh, &[("client_id", id)]).await.tokens();
    assert_eq!(stage.status(&renewed.access).await, 200);
    stage.clock.set(after(3600));
    assert_eq!(stage.status(&renewed.access).await, 401);
    assert_eq!(stage.refresh(&renewed.refresh, &[("client_id", id)]).await.error(), "invalid_client");
    assert_eq!(stage.browser().get(&authorize(&[("client_id", id)])).await.status, 400);
    stage.stop().await;
}

/// Registrations as a server keeps them, and which were asked for by name.
#[derive(Debug)]
struct Asked {
    state: Local,
    names: Mutex<Vec<String>>,
}

#[async_trait]
impl Registrations for Asked {
    fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        self.state.find(client_id)
    }

    fn held(&self, now: Timestamp) -> Vec<Held> {
        self.state.held(now)
    }

    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError> {
        self.names.lock().unwrap().push(client_id.to_owned());
        Registrations::read(&self.state, client_id).await
    }

    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError> {
        Registrations::create(&self.state, client_id, new).await
    }

    async fn remove(&self, client_id: &str) -> Result<(), ClientError> {
        self.state.remove(client_id).await
    }
}

/// A client id is a path or a query, to make the server ask the API server for something else → such ids are nobody's,
/// and nothing is asked.
#[tokio::test]
async fn a_path_as_the_client_id() {
    let state = Local::memory(Arc::new(ManualClock::at(start_of_time())));
    let asked = Arc::new(Asked { state, names: Mutex::default() });
    let stage = Stage::with(|setup| {
        open(100)(setup);
        setup.registrations = Some(asked.clone());
    })
    .await;
    let id = "0123456789abcdef0123456789abcdef";
    let mut browser = stage.browser();
    for id in [
        "../secrets/agents-signing-keys",
        "../../../../../api/v1/secrets",
        "?watch=true",
        "dyn-0?watch=true",
        &format!("dyn-{id}?watch=true"),
        &format!("dyn-{id}/status"),
        &format!("dyn-{}/..", &id[..29]),
        "dyn-%2e%2e%2fagents",
        "nobody",
    ] {
        assert_eq!(stage.refresh("x", &[("client_id", id)]).await.error(), "invalid_client", "{id}");
        assert_eq!(browser.get(&authorize(&[("client_id", id)])).await.status, 400, "{id}");
    }
    assert_eq!(*asked.names.lock().unwrap(), [""; 0]);
    stage.stop().await;
}

/// Ids of the form of a registered client are made up by the thousand, so that each costs a read from the API server → none
/// is read: an id has a MAC. One that was made here and is not in memory is read once.
#[tokio::test]
async fn made_up_ids_of_registered_clients() {
    let state = Local::memory(Arc::new(ManualClock::at(start_of_time())));
    let asked = Arc::new(Asked { state, names: Mutex::default() });
    let stage = Stage::with(|setup| {
        open(100)(setup);
        setup.registrations = Some(asked.clone());
    })
    .await;
    let mut browser = stage.browser();
    let registered = register(&stage, 1, &metadata(&json!({}))).await.json()["client_id"].as_str().unwrap().to_owned();
    let changed = format!("{}{}", &registered[..35], if registered.ends_with('0') { '1' } else { '0' });
    for id in ["dyn-0123456789abcdef0123456789abcdef", changed.as_str()] {
        assert_eq!(stage.refresh("x", &[("client_id", id)]).await.error(), "invalid_client", "{id}");
        assert_eq!(browser.get(&authorize(&[("client_id", id)])).await.status, 400, "{id}");
    }
    assert_eq!(*asked.names.lock().unwrap(), [""; 0]);
    assert_eq!(stage.refresh("x", &[("client_id", &registered)]).await.error(), "invalid_grant", "it is known");

    // The id of a registration that has ended: genuine, and not there any more.
    let registrar = Registrar::new(&stage.keys).unwrap();
    let ended = registrar.new_id(&mut StdRng::seed_from_u64(7));
    for _ in 0..3 {
        assert_eq!(stage.refresh("x", &[("client_id", &ended)]).await.error(), "invalid_client");
        assert_eq!(browser.get(&authorize(&[("client_id", &ended)])).await.status, 400);
    }
    assert_eq!(*asked.names.lock().unwrap(), [ended], "it may have been made at another server, and is read once");
    stage.stop().await;
}
