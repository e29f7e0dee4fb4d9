//! From an agent's request to its token, and what happens on the way.

use crate::pages::stage::{CALLBACK, PASSWORD, Stage, authorize, log, parameter, scopes, start_of_time};
use jiff::SignedDuration;
use reqwest::Method;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_person_signs_in_consents_and_the_agent_gets_its_token() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();

    let page = browser.get(&authorize(&[])).await;
    assert!(page.path().starts_with("/login?continue="), "{}", page.path());
    assert_eq!(browser.cookie, None, "a redirect plants nothing");
    let sign_in = page.path().to_owned();
    let page = browser.get(&sign_in).await;
    assert!(page.text().contains("Claude wants to connect"), "{}", page.text());

    let page = browser.sign_in(&sign_in, "ada", PASSWORD).await;
    let back = page.path().to_owned();
    assert!(back.starts_with("/authorize?response_type=code&client_id=agent"), "{back}");
    let page = browser.get(&back).await;
    assert_eq!(page.status, 200);
    for words in [
        "Allow Claude to work for you?",
        "Set up by your platform team.",
        "In your name: ada",
        "See your workspaces",
        "Read the files in your workspaces",
        "30 days at most",
        "agent.example.com",
        CALLBACK,
    ] {
        assert!(page.text().contains(words), "{words:?} in {}", page.text());
    }
    assert!(!page.text().contains("Run commands") && !page.text().contains("allowed before"));

    let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
    let location = page.location();
    assert!(location.starts_with(&format!("{CALLBACK}?")), "{location}");
    assert_eq!(parameter(location, "state").unwrap(), "the client's own");
    assert_eq!(parameter(location, "iss").unwrap(), stage.origin);
    let token = stage.redeem(location).await;
    assert_eq!(scopes(&token), BTreeSet::from(["workspaces:read".to_owned(), "files:read".to_owned()]));
    assert_eq!(stage.call(token["access_token"].as_str().unwrap()).await, 200);

    // Again, with more: what was allowed before is on the page, and stays unless it is unticked.
    let page = browser.get(&authorize(&[("scope", "workspaces:exec")])).await;
    assert_eq!(page.text().matches("allowed before").count(), 2, "{}", page.text());
    let form = page.form("/consent");
    let ticked: Vec<&str> = form.0.iter().filter(|(name, _)| name == "scope").map(|(_, value)| &**value).collect();
    assert_eq!(ticked, ["workspaces:read", "workspaces:exec", "files:read"]);
    let fewer = form.without("scope").with("scope", "workspaces:exec").with("decision", "allow");
    let page = browser.submit("/consent", &fewer.0).await;
    let token = stage.redeem(page.location()).await;
    assert_eq!(scopes(&token), BTreeSet::from(["workspaces:exec".to_owned()]));

    let given = log().audit("consent.given");
    assert!(given.iter().any(|event| event["client_id"] == "agent"
        && event["user"] == "local:ada"
        && event["scopes"] == "workspaces:read files:read"
        && event["address"] == "127.0.0.1"));
    stage.stop().await;
}

#[tokio::test]
async fn a_denial_goes_back_to_the_agent() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get(&authorize(&[])).await;
    let page = browser.submit("/consent", &page.form("/consent").with("decision", "deny").0).await;
    let location = page.location();
    assert!(location.starts_with(&format!("{CALLBACK}?")));
    assert_eq!(parameter(location, "error").unwrap(), "access_denied");
    assert_eq!(parameter(location, "state").unwrap(), "the client's own");
    assert_eq!(parameter(location, "code"), None);
    assert!(log().audit("consent.denied").iter().any(|event| event["user"] == "local:ada"));
    stage.stop().await;
}

#[tokio::test]
async fn nothing_ticked_is_asked_again_and_more_than_asked_is_refused() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");

    let page = browser.submit("/consent", &consent.clone().without("scope").0).await;
    assert_eq!(page.status, 422);
    assert!(
        page.html.contains("role=\"alert\"") && page.text().contains("No permission is selected"),
        "{}",
        page.text()
    );
    let again = page.form("/consent").with("scope", "files:read").with("decision", "allow");
    let page = browser.submit("/consent", &again.0).await;
    assert_eq!(scopes(&stage.redeem(page.location()).await), BTreeSet::from(["files:read".to_owned()]));

    for (wrong, status) in [("workspaces:exec", 400), ("admin", 400), ("", 400)] {
        let page = browser.submit("/consent", &consent.clone().with("scope", wrong).0).await;
        assert_eq!(page.status, status, "{wrong:?}");
    }
    let undecided = consent.clone().without("decision");
    assert_eq!(browser.submit("/consent", &undecided.0).await.status, 400);
    stage.stop().await;
}

#[tokio::test]
async fn prompts_ask_for_the_account_once() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for prompt in ["login", "select_account"] {
        let page = browser.get(&authorize(&[("prompt", prompt)])).await;
        let sign_in = page.path().to_owned();
        assert!(sign_in.starts_with("/login?"), "{sign_in}");
        let page = browser.get(&sign_in).await;
        assert!(page.text().contains("You are signed in as"), "{}", page.text());
        let page = browser.sign_in(&sign_in, "bob", PASSWORD).await;
        let back = page.path().to_owned();
        let page = browser.get(&back).await;
        assert!(page.text().contains("In your name: bob"), "{}", page.text());
    }
    // Who is always asked cannot not be asked.
    let page = browser.get(&authorize(&[("prompt", "none")])).await;
    assert_eq!(parameter(page.location(), "error").unwrap(), "interaction_required");

    // The link on the page to another account keeps the request.
    let page = browser.get(&authorize(&[])).await;
    let switch = page.html.split_once("href=\"/login?").unwrap().1.split_once('"').unwrap().0.to_owned();
    let page = browser.sign_in(&format!("/login?{switch}"), "ada", PASSWORD).await;
    let back = page.path().to_owned();
    assert!(browser.get(&back).await.text().contains("In your name: ada"));
    stage.stop().await;
}

#[tokio::test]
async fn requests_that_cannot_be_answered_are_pages_or_redirects() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for more in [
        &[("client_id", "nobody")][..],
        &[("client_id", "")],
        &[("redirect_uri", "https://evil.test/callback")],
        &[("redirect_uri", "")],
    ] {
        let page = browser.get(&authorize(more)).await;
        assert_eq!(page.status, 400, "{more:?}");
        assert!(!page.headers.contains_key("location"));
        assert!(page.text().contains("Go back to the agent"), "{}", page.text());
    }
    for (more, error) in [
        (&[("code_challenge", "")][..], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("scope", "everything")], "invalid_scope"),
        (&[("resource", "https://elsewhere.test/mcp")], "invalid_target"),
    ] {
        let page = browser.get(&authorize(more)).await;
        assert_eq!(parameter(page.location(), "error").unwrap(), error, "{more:?}");
    }
    let page = browser.get(&authorize(&[("padding", &"x".repeat(9000))])).await;
    assert_eq!(page.status, 414, "{}", page.text());

    // An error page has a reference, and the log has it too.
    let page = browser.get(&authorize(&[("client_id", "nobody")])).await;
    let reference = page.html.split_once("reference: <code>").unwrap().1.split_once('<').unwrap().0;
    assert!(log().text().contains(&format!("\"request_id\":\"{reference}\"")), "{reference}");
    stage.stop().await;
}

#[tokio::test]
async fn a_form_may_ask_too_from_pages_of_allowed_origins() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let query = authorize(&[]);
    let fields: Vec<_> =
        url::form_urlencoded::parse(query.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    for (origin, allowed) in
        [("https://app.example.com", true), (&stage.origin, true), ("https://evil.test", false), ("null", false)]
    {
        let page = browser.submit_from("/authorize", &fields, &[("origin", origin)]).await;
        if allowed {
            let path = page.path().to_owned();
            assert_eq!(browser.get(&path).await.status, 200, "{origin}");
        } else {
            assert_eq!(page.status, 403, "{origin}");
            assert!(page.html.starts_with("<!doctype html>"), "people see a page");
        }
    }
    // A navigation has no origin, or says whatever it likes: reading the page is no harm.
    let request = browser.request(Method::GET, &query).header("origin", "null").header("sec-fetch-site", "cross-site");
    let page = browser.send(request).await;
    assert_eq!(page.status, 200);
    assert!(!page.headers.contains_key("access-control-allow-origin"));
    stage.stop().await;
}

#[tokio::test]
async fn sessions_end_after_twelve_hours_and_with_their_user() {
    let stage = Stage::start().await;
    let mut ada = stage.signed_in("ada").await;
    let mut bob = stage.signed_in("bob").await;
    assert_eq!(ada.get("/agents").await.status, 200);

    let mut files = stage.files.clone();
    let mut logins: serde_json::Value = serde_json::from_slice(&files.login).unwrap();
    logins["logins"]["local"]["passwords"].as_object_mut().unwrap().remove("ada").unwrap();
    files.login = serde_json::to_vec(&logins).unwrap();
    stage.volume.replace(&files);
    for _ in 0..600 {
        if ada.get("/agents").await.status == 303 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(ada.get("/agents").await.path(), "/login", "ada is no user any more");
    assert_eq!(bob.get("/agents").await.status, 200);

    stage.clock.set(start_of_time() + SignedDuration::from_hours(12) - SignedDuration::from_secs(1));
    assert_eq!(bob.get("/agents").await.status, 200);
    stage.clock.set(start_of_time() + SignedDuration::from_hours(12));
    assert_eq!(bob.get("/agents").await.path(), "/login");
    stage.stop().await;
}

#[tokio::test]
async fn without_a_login_a_page_says_what_to_set_and_offers_the_way_back() {
    let stage = Stage::with(|config| config.login.clear()).await;
    let mut browser = stage.browser();
    let page = browser.get(&authorize(&[])).await;
    assert_eq!(page.status, 503);
    assert!(page.text().contains("spec.login"), "{}", page.text());
    let back = page.html.split_once(&format!("href=\"{CALLBACK}")).unwrap().1.split_once('"').unwrap().0;
    assert!(back.contains("error=temporarily_unavailable") && back.contains("state="), "{back}");
    assert_eq!(browser.get("/login").await.status, 503);
    stage.stop().await;
}

#[tokio::test]
async fn with_an_issuer_elsewhere_there_are_no_pages() {
    let issuer = serde_json::json!({"issuerUrl": "https://idp.example.com"});
    let stage = Stage::with(|config| config.external_issuer = serde_json::from_value(issuer).unwrap()).await;
    let mut browser = stage.browser();
    for path in [&authorize(&[]), "/login", "/login/local", "/agents", "/assets/style-0.css"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    for path in ["/consent", "/logout", "/login", "/agents/revoke"] {
        assert_eq!(browser.submit(path, &[]).await.status, 404, "{path}");
    }
    stage.stop().await;
}
