//! Client ids that are URLs, to make the server fetch what only it can reach. What is fetched comes over real TLS from a
//! web of the test's own.

use crate::{
    agent::{authorize, parameter},
    driven::{Browser, Page as Shown},
    stage::{Setup, Stage},
    web::{Body, PUBLIC, Page, Web},
};
use serde_json::{Value, json};

const HOST: &str = "client.example.com";
const ID: &str = "https://client.example.com/metadata";
const PLACE: &str = "client.example.com/metadata";

fn document() -> Value {
    json!({"client_id": ID, "client_name": "An agent", "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none"})
}

/// An endpoint that accepts documents from these hosts.
fn accepting(hosts: &[&str], web: &Web) -> impl FnOnce(&mut Setup) {
    let policy = json!({"metadataDocuments": {"allowedHosts": hosts, "scopes": ["workspaces:read"]}});
    let outbound = web.outbound();
    move |setup| {
        setup.config.client_policy = serde_json::from_value(policy).unwrap();
        setup.outbound = outbound;
    }
}

async fn begin() -> (Stage, Web) {
    let web = Web::start(&[HOST, "other.example.com"]).await;
    web.publish(PLACE, Page::json(&document()));
    (Stage::with(accepting(&[HOST], &web)).await, web)
}

async fn ask(browser: &mut Browser, id: &str) -> Shown {
    let more = [("client_id", id), ("redirect_uri", "http://127.0.0.1:8123/callback"), ("scope", "workspaces:read")];
    browser.get(&authorize(&more)).await
}

/// A page, at `/authorize`; and no token, at `/token`.
async fn refused(stage: &Stage, id: &str) {
    let page = ask(&mut stage.browser(), id).await;
    assert_eq!(page.status, 400, "{id}: {}", page.text());
    assert!(!page.headers.contains_key("location"), "{id}");
    assert_eq!(stage.refresh("x", &[("client_id", id)]).await.error(), "invalid_client", "{id}");
}

async fn not_looked_up(ids: &[&str]) {
    let web = Web::start(&[HOST]).await;
    // Even if somebody allowed such a host.
    let hosts: Vec<String> =
        ids.iter().filter_map(|id| Some(url::Url::parse(id).ok()?.host_str()?.to_owned())).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let stage = Stage::with(accepting(&hosts, &web)).await;
    for id in ids {
        refused(&stage, id).await;
    }
    assert!(web.lookups().is_empty() && web.dialled().is_empty(), "{:?}", web.lookups());
    stage.stop().await;
}

/// The id names an address: loopback, private, link-local, in IPv4 or IPv6 → nothing is connected to.
#[tokio::test]
async fn addresses() {
    not_looked_up(&[
        "https://127.0.0.1/metadata",
        "https://10.96.0.1/metadata",
        "https://192.168.0.1/metadata",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/metadata",
        "https://100.64.0.1/metadata",
        "https://[::1]/metadata",
        "https://[fd00:ec2::254]/metadata",
        "https://[fe80::1]/metadata",
    ])
    .await;
}

/// The id spells an address in decimal, octal, hex or short → nothing is connected to.
#[tokio::test]
async fn spellings_of_addresses() {
    not_looked_up(&[
        "https://2130706433/metadata",
        "https://0x7f000001/metadata",
        "https://0177.0.0.1/metadata",
        "https://0x7f.1/metadata",
        "https://127.1/metadata",
        "https://2852039166/latest/meta-data/",
    ])
    .await;
}

/// The id hides an IPv4 address in an IPv6 one → nothing is connected to.
#[tokio::test]
async fn addresses_within_addresses() {
    not_looked_up(&[
        "https://[::ffff:127.0.0.1]/metadata",
        "https://[::ffff:a9fe:a9fe]/metadata",
        "https://[::127.0.0.1]/metadata",
        "https://[64:ff9b::7f00:1]/metadata",
        "https://[2002:7f00:1::]/metadata",
    ])
    .await;
}

/// The id is a name of the cluster, of the machine or of a cloud's metadata → not even looked up.
#[tokio::test]
async fn names_that_are_not_public() {
    not_looked_up(&[
        "https://localhost/metadata",
        "https://kubernetes.default.svc/metadata",
        "https://kubernetes.default.svc.cluster.local/metadata",
        "https://metadata.google.internal/computeMetadata/v1/",
        "https://kubernetes/metadata",
        "https://printer.local/metadata",
    ])
    .await;
}

/// A host's name leads to addresses that are not public, or to some that are and one that is not → nothing is connected
/// to, and the answer does not tell the address.
#[tokio::test]
async fn names_at_private_addresses() {
    let (stage, web) = begin().await;
    for (index, addresses) in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["::ffff:10.0.0.1"],
        &["93.184.215.14", "10.0.0.1"],
        &["fd00:ec2::254", "93.184.215.14"],
    ]
    .into_iter()
    .enumerate()
    {
        web.resolve(HOST, &[addresses]);
        let page = ask(&mut stage.browser(), &format!("{ID}-{index}")).await;
        assert_eq!(page.status, 400, "{addresses:?}");
        let told = |address: &&&str| page.html.contains(**address) && !stage.origin.contains(**address);
        assert_eq!(addresses.iter().find(told), None, "{}", page.text());
    }
    assert!(web.dialled().is_empty());
    stage.stop().await;
}

/// A name leads to a public address when it is checked and to a private one when it is connected to (DNS rebinding) →
/// looked up once: the address that was checked is the one that is connected to.
#[tokio::test]
async fn dns_rebinding() {
    let (stage, web) = begin().await;
    web.resolve(HOST, &[&["93.184.215.14"], &["127.0.0.1"]]);
    let page = ask(&mut stage.browser(), ID).await;
    assert!(page.path().starts_with("/login?"), "{}", page.text());
    assert_eq!((web.lookups().len(), web.dialled()), (1, vec![PUBLIC]));
    // And the second time, for a document that is not kept yet.
    refused(&stage, &format!("{ID}-2")).await;
    assert_eq!(web.dialled(), [PUBLIC]);
    stage.stop().await;
}

/// The document redirects to somewhere inside, or to another allowed place → not followed.
#[tokio::test]
async fn redirects() {
    let (stage, web) = begin().await;
    for (index, location) in [
        "https://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://other.example.com/metadata",
        "/metadata",
        "//localhost/",
    ]
    .into_iter()
    .enumerate()
    {
        for status in [301, 302, 303, 307, 308] {
            let page = Page::json(&document()).status(status).with("location", location);
            web.publish(&format!("{PLACE}-{index}-{status}"), page);
            refused(&stage, &format!("{ID}-{index}-{status}")).await;
        }
    }
    assert!(web.lookups().iter().all(|host| host == HOST));
    assert_eq!(web.hits(PLACE), 0);
    stage.stop().await;
}

/// The id names another port, user information, a fragment, plain http, dot segments or another spelling of an allowed
/// host → nothing is fetched.
#[tokio::test]
async fn urls_that_are_not_plain() {
    let (stage, web) = begin().await;
    for id in [
        "https://client.example.com:8443/metadata",
        "https://client.example.com:443/metadata",
        "https://client.example.com:22/metadata",
        "https://user:pass@client.example.com/metadata",
        "https://client.example.com@127.0.0.1/metadata",
        "https://client.example.com/metadata#x",
        "https://client.example.com/x/../metadata",
        "https://CLIENT.example.com/metadata",
        "https://client.example.com./metadata",
        "https://client.example.com",
        "https://client.example.com/",
        "https:client.example.com/metadata",
        "https:\\\\client.example.com\\metadata",
        "http://client.example.com/metadata",
        "HTTPS://client.example.com/metadata",
        "file:///etc/passwd",
        "gopher://client.example.com/metadata",
    ] {
        refused(&stage, id).await;
    }
    assert!(web.lookups().is_empty(), "{:?}", web.lookups());
    stage.stop().await;
}

/// A document of a host that nobody allowed, or of one below or beside an allowed one → not even looked up.
#[tokio::test]
async fn hosts_that_are_not_allowed() {
    let (stage, web) = begin().await;
    for id in [
        "https://other.example.com/metadata",
        "https://sub.client.example.com/metadata",
        "https://client.example.com.evil.test/metadata",
        "https://evilclient.example.com/metadata",
    ] {
        refused(&stage, id).await;
    }
    assert!(web.lookups().is_empty());
    stage.stop().await;
}

/// The document is another client's, has callbacks on another host, a shared secret, or is no JSON → refused.
#[tokio::test]
async fn documents_that_lie() {
    let (stage, web) = begin().await;
    let id = |index: usize| format!("{ID}-{index}");
    for (index, change) in [
        json!({"client_id": ID}),
        json!({"client_id": "agent"}),
        json!({"redirect_uris": ["https://evil.test/callback"]}),
        json!({"redirect_uris": ["javascript:alert(1)"]}),
        json!({"redirect_uris": ["https://client.example.com.evil.test/callback"]}),
        json!({"client_secret": "shared"}),
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}, "token_endpoint_auth_method": "private_key_jwt"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut lying = document();
        lying["client_id"] = json!(id(index));
        lying.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        web.publish(&format!("{PLACE}-{index}"), Page::json(&lying));
        refused(&stage, &id(index)).await;
    }
    web.publish(&format!("{PLACE}-html"), Page::json(&document()).with("content-type", "text/html"));
    refused(&stage, &format!("{ID}-html")).await;
    stage.stop().await;
}

/// A client's `jwks_uri` leads inside, in a document of a good host → nothing is fetched, and no token is given.
#[tokio::test]
async fn a_private_jwks_uri() {
    let (stage, web) = begin().await;
    for (index, uri) in [
        "https://127.0.0.1/jwks",
        "https://169.254.169.254/jwks",
        "https://2130706433/jwks",
        "https://kubernetes.default.svc/openid/v1/jwks",
        "http://other.example.com/jwks",
        "https://other.example.com:8443/jwks",
        "https://private.example.com/jwks",
    ]
    .into_iter()
    .enumerate()
    {
        web.resolve("private.example.com", &[&["10.0.0.1"]]);
        let id = format!("{ID}-{index}");
        let mut keys = document();
        keys["client_id"] = json!(id);
        keys["token_endpoint_auth_method"] = json!("private_key_jwt");
        keys["jwks_uri"] = json!(uri);
        web.publish(&format!("{PLACE}-{index}"), Page::json(&keys));
        let claims = json!({"iss": id, "sub": id, "aud": stage.origin, "exp": 1_800_000_300, "jti": "1"});
        let parts = crate::forge::Parts { header: json!({"alg": "ES256"}), claims };
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("client_assertion", &parts.signed(&crate::forge::other_key())),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ];
        assert_eq!(stage.token(&form).await.error(), "invalid_client", "{uri}");
    }
    assert!(web.dialled().iter().all(|address| *address == PUBLIC));
    let hosts: std::collections::BTreeSet<String> = web.lookups().into_iter().collect();
    assert!(hosts.iter().all(|host| host == HOST || host == "private.example.com"), "{hosts:?}");
    stage.stop().await;
}

/// A document is endless, long, or begins and never ends → given up at its limit of size or time.
#[tokio::test]
async fn endless_documents() {
    let (stage, web) = begin().await;
    let good = || Page::json(&document());
    web.publish(&format!("{PLACE}-endless"), Page { body: Body::Endless, ..good() });
    web.publish(&format!("{PLACE}-long"), Page { body: Body::Text(" ".repeat((16 << 10) + 1)), ..good() });
    let deep = Body::Text(format!("{}{}", "[".repeat(8000), "]".repeat(8000)));
    web.publish(&format!("{PLACE}-deep"), Page { body: deep, ..good() });
    for what in ["endless", "long", "deep"] {
        let begin = tokio::time::Instant::now();
        refused(&stage, &format!("{ID}-{what}")).await;
        assert!(begin.elapsed().as_secs() < 5, "{what}");
    }
    web.publish(&format!("{PLACE}-stalled"), Page { body: Body::Stalled, ..good() });
    let id = format!("{ID}-stalled");
    tokio::time::timeout(std::time::Duration::from_mins(1), refused(&stage, &id)).await.unwrap();
    stage.stop().await;
}

/// The callback is on another host than the document that people see on the consent page → a page, no redirect.
#[tokio::test]
async fn a_callback_beside_the_document() {
    let (stage, _web) = begin().await;
    let mut browser = stage.signed_in("ada").await;
    for uri in ["https://evil.test/callback", "https://client.example.com/callback", "http://localhost:8123/callback"] {
        let page = browser.get(&authorize(&[("client_id", ID), ("redirect_uri", uri)])).await;
        assert_eq!(page.status, 400, "{uri}");
    }
    let page = ask(&mut browser, ID).await;
    assert!(page.text().contains(HOST), "{}", page.text());
    let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
    assert!(parameter(&stage.answered(&page), "code").is_some());
    stage.stop().await;
}

/// The document's name imitates another client or a verification → the consent page shows it without what misleads, or the
/// document's host in its place.
#[tokio::test]
async fn a_document_whose_name_misleads() {
    let (stage, web) = begin().await;
    let mut browser = stage.signed_in("ada").await;
    for (index, (name, shown)) in [
        ("Claude ✔", "Allow Claude to work for you?"),
        ("Cl\u{200b}au\u{202e}de", "Allow Claude to work for you?"),
        ("\u{421}laude", "Allow client.example.com to work for you?"),
        ("Claude, set up by your platform team", "Allow client.example.com to work for you?"),
        ("助手", "Allow 助手 to work for you?"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("{ID}-{index}");
        let mut named = document();
        named["client_id"] = json!(id);
        named["client_name"] = json!(name);
        web.publish(&format!("{PLACE}-{index}"), Page::json(&named));
        let page = ask(&mut browser, &id).await;
        assert!(page.text().contains(shown), "{name}: {}", page.text());
        assert!(!page.text().contains("platform team") && !page.html.contains('✔'), "{name}");
    }
    stage.stop().await;
}
