//! Codes lured to other places. What does not match is answered with a page, and never with a redirect.

use crate::{
    agent::{authorize, parameter},
    stage::{CALLBACK, Stage},
};

/// None of these is where this client is sent back to.
async fn refused(stage: &Stage, client_id: &str, uris: &[&str]) {
    let mut browser = stage.signed_in("ada").await;
    for uri in uris {
        let page = browser.get(&authorize(&[("client_id", client_id), ("redirect_uri", uri)])).await;
        assert_eq!(page.status, 400, "{uri}");
        assert!(!page.headers.contains_key("location"), "{uri}");
        assert!(page.text().contains("cannot be sent back"), "{uri}: {}", page.text());
        assert!(!page.html.contains(&format!("href=\"{uri}")), "{uri}: not even a link");
    }
}

/// All of these are, and the code goes exactly there.
async fn accepted(stage: &Stage, client_id: &str, uris: &[&str]) {
    let mut browser = stage.signed_in("ada").await;
    for uri in uris {
        let location = stage.consent(&mut browser, &[("client_id", client_id), ("redirect_uri", uri)]).await;
        assert!(location.starts_with(&format!("{uri}?code=")), "{uri}: {location}");
    }
}

macro_rules! refuses {
    ($client:literal, $($uri:expr),+ $(,)?) => {{
        let stage = Stage::start().await;
        refused(&stage, $client, &[$($uri),+]).await;
        stage.stop().await;
    }};
}

/// The redirect URI has a longer, a shorter or another path than the registered one → a page, no redirect.
#[tokio::test]
async fn another_path() {
    refuses!(
        "agent",
        "https://agent.example.com/callback/",
        "https://agent.example.com/callback/evil",
        "https://agent.example.com/callback2",
        "https://agent.example.com/",
        "https://agent.example.com",
        "https://agent.example.com//callback",
        "https://agent.example.com/evil",
    );
}

/// The path walks up and down again with dot segments, plain or encoded → a page, no redirect.
#[tokio::test]
async fn dot_segments() {
    refuses!(
        "agent",
        "https://agent.example.com/callback/../callback",
        "https://agent.example.com/./callback",
        "https://agent.example.com/%2e%2e/callback",
        "https://agent.example.com/x/..%2fcallback",
        "https://agent.example.com/callback;/../evil",
    );
}

/// The scheme, host or path has other capitals → a page, no redirect: nothing is normalized.
#[tokio::test]
async fn other_capitals() {
    refuses!(
        "agent",
        "HTTPS://agent.example.com/callback",
        "https://Agent.example.com/callback",
        "https://agent.example.com/Callback",
    );
}

/// A port is named, even the usual one → a page, no redirect.
#[tokio::test]
async fn another_port() {
    refuses!(
        "agent",
        "https://agent.example.com:443/callback",
        "https://agent.example.com:8443/callback",
        "https://agent.example.com:/callback",
        "https://agent.example.com:0443/callback",
    );
}

/// User information makes another host look like the right one → a page, no redirect.
#[tokio::test]
async fn user_information() {
    refuses!(
        "agent",
        "https://agent.example.com@evil.test/callback",
        "https://agent.example.com:443@evil.test/callback",
        "https://evil.test@agent.example.com/callback",
        "https://@agent.example.com/callback",
    );
}

/// A fragment is added, which would hide the code from the server that it goes to → a page, no redirect.
#[tokio::test]
async fn a_fragment() {
    refuses!("agent", "https://agent.example.com/callback#", "https://agent.example.com/callback#evil=1");
}

/// The host looks alike by letters of other scripts, or by their punycode → a page, no redirect.
#[tokio::test]
async fn homographs() {
    refuses!(
        "agent",
        "https://аgent.example.com/callback",
        "https://xn--gent-43d.example.com/callback",
        "https://\u{ff41}gent.example.com/callback",
        "https://agent。example.com/callback",
        "https://agent.example.com\u{200b}/callback",
    );
}

/// Letters of the path or host are percent-encoded → a page, no redirect.
#[tokio::test]
async fn percent_encoding() {
    refuses!(
        "agent",
        "https://agent.example.com/%63allback",
        "https://agent.example.com%2fcallback",
        "https://agent%2eexample.com/callback",
        "https://agent.example.com/callback%00",
        "https://agent.example.com/callback%0d%0aLocation:%20https://evil.test",
    );
}

/// Backslashes, spaces and tabs, which browsers read as slashes or skip → a page, no redirect.
#[tokio::test]
async fn backslashes_and_spaces() {
    refuses!(
        "agent",
        "https://agent.example.com\\callback",
        "https:\\\\agent.example.com/callback",
        "https://evil.test\\@agent.example.com/callback",
        " https://agent.example.com/callback",
        "https://agent.example.com/callback ",
        "https://agent.example.com/call back",
    );
}

/// The URI has no scheme, so that it would be taken as one of this server's own or of its own choice → a page, no
/// redirect.
#[tokio::test]
async fn open_redirects() {
    refuses!(
        "agent",
        "//agent.example.com/callback",
        "//evil.test",
        "/callback",
        "/\\evil.test",
        "callback",
        "agent.example.com/callback",
        "https:agent.example.com/callback",
        "https:///agent.example.com/callback",
    );
}

/// Another host, or one of which the registered one is a part → a page, no redirect.
#[tokio::test]
async fn another_host() {
    refuses!(
        "agent",
        "https://evil.test/callback",
        "https://agent.example.com.evil.test/callback",
        "https://evilagent.example.com/callback",
        "https://sub.agent.example.com/callback",
        "https://agent.example.com./callback",
        "https://example.com/callback",
    );
}

/// `http` instead of `https` → a page, no redirect.
#[tokio::test]
async fn plain_http_on_a_public_host() {
    refuses!("agent", "http://agent.example.com/callback", "ws://agent.example.com/callback");
}

/// A query is added to the registered URI → a page, no redirect.
#[tokio::test]
async fn an_added_query() {
    refuses!(
        "agent",
        "https://agent.example.com/callback?",
        "https://agent.example.com/callback?code=mine",
        "https://agent.example.com/callback?next=https://evil.test",
    );
}

/// `redirect_uri` or `client_id` is there twice, one good and one bad, so that two readers might differ → a page, no
/// redirect.
#[tokio::test]
async fn doubled_parameters() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let good = authorize(&[]);
    for more in [
        "redirect_uri=https%3A%2F%2Fevil.test%2Fcallback",
        "redirect_uri=https%3A%2F%2Fagent.example.com%2Fcallback",
        "%72edirect_uri=https%3A%2F%2Fevil.test",
        "client_id=other",
        "client_id=agent",
    ] {
        for request in [format!("{good}&{more}"), good.replace("/authorize?", &format!("/authorize?{more}&"))] {
            let page = browser.get(&request).await;
            assert_eq!(page.status, 400, "{request}");
            assert!(!page.headers.contains_key("location"), "{request}");
        }
    }
    stage.stop().await;
}

/// A scheme that browsers run or show, such as `javascript:` or `data:` → a page, no redirect and no link.
#[tokio::test]
async fn schemes_that_run() {
    refuses!(
        "agent",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "javascript://agent.example.com/callback%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://agent.example.com/callback",
        "view-source:https://agent.example.com/callback",
        "about:blank",
    );
}

/// A client is registered with `javascript:`, `data:` or plain `http` in the mounted files → that callback is never
/// sent to, whoever registered it.
#[tokio::test]
async fn registered_schemes_that_run() {
    let uris = ["javascript:alert(1)", "data:text/html,x", "http://agent.example.com/callback", "file:///tmp/x"];
    let stage = Stage::with(|setup| {
        setup.clients[0].redirect_uris = uris.map(ToOwned::to_owned).into();
    })
    .await;
    refused(&stage, "agent", &uris).await;
    stage.stop().await;
}

/// A host that only begins or ends like a loopback address, for a client of the user's machine → a page, no redirect.
#[tokio::test]
async fn hosts_like_loopback() {
    refuses!(
        "localhost",
        "http://localhost.evil.test/callback",
        "http://evil.localhost/callback",
        "http://localhost@evil.test/callback",
        "http://localhost:80@evil.test/callback",
        "http://LOCALHOST/callback",
        "http://localhost./callback",
        "http://127.0.0.1/callback",
    );
    refuses!("loopback", "http://127.0.0.1.evil.test/callback", "http://127.0.0.1@evil.test/callback");
}

/// Another spelling of 127.0.0.1, which some readers take for another address → a page, no redirect.
#[tokio::test]
async fn spellings_of_loopback() {
    refuses!(
        "loopback",
        "http://127.1/callback",
        "http://0x7f.0.0.1/callback",
        "http://0177.0.0.1/callback",
        "http://2130706433/callback",
        "http://127.0.0.2/callback",
        "http://0.0.0.0/callback",
        "http://[::1]/callback",
        "http://[::ffff:127.0.0.1]/callback",
        "https://127.0.0.1/callback",
    );
}

/// The free port of a loopback callback is used to smuggle something else in → only a port may differ.
#[tokio::test]
async fn ports_of_loopback() {
    let stage = Stage::start().await;
    accepted(&stage, "loopback", &["http://127.0.0.1/callback", "http://127.0.0.1:8123/callback"]).await;
    refused(
        &stage,
        "loopback",
        &[
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:80.evil.test/callback",
            "http://127.0.0.1:8123/other",
            "http://127.0.0.1:8123/callback?x=y",
            "http://127.0.0.1:8123@evil.test/callback",
        ],
    )
    .await;
    stage.stop().await;
}

/// The one free segment of a callback pattern is filled with a slash, a query, dots or nothing → only one plain segment
/// matches.
#[tokio::test]
async fn callback_patterns() {
    let stage = Stage::start().await;
    accepted(&stage, "pattern", &["https://chatgpt.com/connector/oauth/abc-123_X"]).await;
    refused(
        &stage,
        "pattern",
        &[
            "https://chatgpt.com/connector/oauth/",
            "https://chatgpt.com/connector/oauth/a/b",
            "https://chatgpt.com/connector/oauth/..",
            "https://chatgpt.com/connector/oauth/%2e%2e",
            "https://chatgpt.com/connector/oauth/a%2fb",
            "https://chatgpt.com/connector/oauth/a?b=c",
            "https://chatgpt.com/connector/oauth/{id}/x",
            "https://chatgpt.com.evil.test/connector/oauth/a",
        ],
    )
    .await;
    stage.stop().await;
}

/// An app's own scheme that is not registered, or another path or host under one that is → a page, no redirect.
#[tokio::test]
async fn native_schemes() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let native = [("client_id", "native"), ("redirect_uri", "com.example.app:/callback")];
    assert!(stage.consent(&mut browser, &native).await.starts_with("com.example.app:/callback?code="));
    let others =
        ["com.example.app:/other", "com.example.app://callback", "com.example.apps:/callback", "app:/callback"];
    refused(&stage, "native", &others).await;
    refused(&stage, "agent", &["com.example.app:/callback", "cursor://anysphere.cursor-mcp/oauth/callback"]).await;
    stage.stop().await;
}

/// Another client's callback is asked for → a page, no redirect.
#[tokio::test]
async fn the_callback_of_another_client() {
    refuses!("native", CALLBACK, "http://127.0.0.1/callback");
}

/// A request that fails is used to send a victim to a place of the attacker's → errors too go to registered callbacks
/// only.
#[tokio::test]
async fn errors_are_no_open_redirect() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let evil = ("redirect_uri", "https://evil.test/callback");
    for wrong in [("response_type", "token"), ("scope", "nonsense"), ("code_challenge", ""), ("prompt", "none")] {
        let page = browser.get(&authorize(&[wrong, evil])).await;
        assert_eq!(page.status, 400, "{wrong:?}");
        assert!(!page.headers.contains_key("location"), "{wrong:?}");
        let page = browser.get(&authorize(&[wrong])).await;
        let location = page.location();
        assert!(location.starts_with(&format!("{CALLBACK}?error=")), "{location}");
        assert_eq!(parameter(location, "iss").unwrap(), stage.origin);
    }
    stage.stop().await;
}

/// A client that does not exist is named together with some callback → a page, no redirect.
#[tokio::test]
async fn unknown_clients_are_sent_nowhere() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for client_id in ["nobody", "AGENT", "agent ", "agent\u{200b}", ""] {
        let page = browser.get(&authorize(&[("client_id", client_id)])).await;
        assert_eq!(page.status, 400, "{client_id:?}");
        assert!(!page.headers.contains_key("location"), "{client_id:?}");
    }
    stage.stop().await;
}
