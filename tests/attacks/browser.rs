//! Attacks through somebody's browser: forged requests, sessions of others, frames, and answers that were swapped.

use crate::{
    agent::{authorize, parameter},
    driven::Fields,
    stage::{CALLBACK, PASSWORD, Stage, after},
};
use portcullis_core::login::Login;
use serde_json::json;

/// What a browser says of a form that another site sent.
const CROSS_SITE: [&[(&str, &str)]; 4] = [
    &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
    &[("origin", "null"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://app.example.com")],
    &[("sec-fetch-site", "same-site")],
];

/// The agent's `state` holds markup, a URL, other parameters or line breaks → it comes back byte by byte, and is nothing
/// but text on the way.
#[tokio::test]
async fn a_hostile_state() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let long = "x".repeat(3072);
    for state in [
        "\"><script>alert(1)</script>",
        "https://evil.test/?code=1",
        "x&code=mine&iss=https://evil.test",
        "x#code=mine",
        "%0d%0aSet-Cookie:%20x=y",
        "{{7*7}}${7*7}",
        "a b+c%20d é 🦀",
        &long,
    ] {
        let page = browser.get(&authorize(&[("state", state)])).await;
        assert!(!page.html.contains("<script"), "{state}");
        let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
        let location = stage.answered(&page);
        assert_eq!(parameter(&location, "state").as_deref(), Some(state));
        assert_eq!(parameter(&location, "iss").unwrap(), stage.origin);
        for name in ["code=", "iss=", "state="] {
            assert_eq!(location.matches(name).count(), 1, "{location}");
        }
        assert!(!location.contains(['\r', '\n', '#', ' ']), "{location}");
        assert!(!page.headers.contains_key("set-cookie"));
    }
    stage.stop().await;
}

/// Another site sends the consent form with the user's cookie (CSRF) → refused, and no code is made.
#[tokio::test]
async fn forged_consent() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    for headers in CROSS_SITE {
        let page = browser.submit_from("/consent", &consent.0, headers).await;
        assert_eq!(page.status, 403, "{headers:?}");
        assert!(!page.headers.contains_key("location"), "{headers:?}");
    }
    // A link or an image cannot consent either.
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&consent.0).finish();
    assert_eq!(browser.get(&format!("/consent?{query}")).await.status, 405);
    assert_eq!(browser.submit("/consent", &consent.0).await.status, 303);
    stage.stop().await;
}

/// Another site revokes the user's agents, or signs the user out → refused, and nothing changes.
#[tokio::test]
async fn forged_revocation() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get("/agents").await;
    for headers in CROSS_SITE {
        for path in ["/agents/revoke", "/logout"] {
            assert_eq!(browser.submit_from(path, &page.form(path).0, headers).await.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(stage.status(&tokens.access).await, 200);
    assert!(browser.get("/agents").await.text().contains("Signed in as ada"));
    stage.stop().await;
}

/// Another site sends the sign-out form without the user's cookie, which browsers leave out → refused before anything is
/// looked at, and no cookie is cleared.
#[tokio::test]
async fn a_sign_out_from_another_site_without_a_cookie() {
    let stage = Stage::start().await;
    let mut nobody = stage.browser();
    for headers in CROSS_SITE {
        for path in ["/logout", "/consent", "/login", "/agents/revoke"] {
            let page = nobody.submit_from(path, &[], headers).await;
            assert_eq!(page.status, 403, "{path} {headers:?}");
            assert!(!page.headers.contains_key("set-cookie"), "{path} {headers:?}");
        }
    }
    assert_eq!(nobody.submit("/logout", &[]).await.status, 200, "a page of ours may be reloaded after signing out");
    stage.stop().await;
}

/// Somebody signs a victim in under the attacker's account, by a form of their own or of another site (login CSRF) →
/// refused.
#[tokio::test]
async fn forged_sign_in() {
    let stage = Stage::start().await;
    let (mut mallory, mut victim) = (stage.browser(), stage.browser());
    let theirs = mallory.get("/login").await.form("/login").with("user", "bob").with("password", PASSWORD);
    assert_eq!(victim.submit("/login", &theirs.0).await.status, 403, "without a cookie of this browser's");
    let own = victim.get("/login").await.form("/login").with("user", "bob").with("password", PASSWORD);
    assert_eq!(victim.submit("/login", &theirs.0).await.status, 403, "with the ticket of another browser");
    for headers in CROSS_SITE {
        assert_eq!(victim.submit_from("/login", &own.0, headers).await.status, 403, "{headers:?}");
    }
    assert_eq!(victim.get("/agents").await.path(), "/login");
    stage.stop().await;
}

/// A session is planted in the victim's browser before signing in (session fixation) → signing in makes a new one, and
/// the planted one is nobody's.
#[tokio::test]
async fn a_planted_session() {
    let stage = Stage::start().await;
    let mut mallory = stage.browser();
    mallory.get("/login").await;
    let mut victim = stage.browser();
    victim.cookie.clone_from(&mallory.cookie);
    assert_eq!(victim.sign_in("/login", "ada", PASSWORD).await.path(), "/agents");
    stage.keep_cookie(&victim);
    assert_ne!(victim.cookie, mallory.cookie);
    assert_eq!(mallory.get("/agents").await.path(), "/login");
    stage.stop().await;
}

/// A cookie is made up, changed, cut, or another sealed text is put into it → it is no session.
#[tokio::test]
async fn made_up_cookies() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let cookie = browser.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    let form = browser.get(&authorize(&[])).await.form("/consent");
    let changed = value.replacen(['a', 'b', 'c'], "Z", 1);
    let long = "A".repeat(4000);
    for value in [&changed, &value[..value.len() - 5], form.value("form"), form.value("request"), "", "ada", &long] {
        let mut stranger = stage.browser();
        stranger.cookie = Some(format!("{name}={value}"));
        assert_eq!(stranger.get("/agents").await.path(), "/login", "{value}");
    }
    stage.stop().await;
}

/// Another endpoint's session is brought along → nobody is signed in by it, even under the same cookie name.
#[tokio::test]
async fn the_session_of_a_sibling_endpoint() {
    let stage = Stage::start().await;
    let sibling = Stage::with(|setup| setup.seed = 2).await;
    let theirs = sibling.signed_in("ada").await.cookie.unwrap();
    let mut own = stage.browser();
    own.get("/login").await;
    let name = own.cookie.clone().unwrap().split_once('=').unwrap().0.to_owned();
    for cookie in [theirs.clone(), format!("{name}={}", theirs.split_once('=').unwrap().1)] {
        own.cookie = Some(cookie);
        assert_eq!(own.get("/agents").await.path(), "/login");
    }
    sibling.stop().await;
    stage.stop().await;
}

/// A page is put into a frame, or opened by a script, to lead clicks (clickjacking) → every page and every error forbids
/// frames, scripts and shared windows.
#[tokio::test]
async fn frames() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for path in ["/login", "/agents", &authorize(&[]), &authorize(&[("client_id", "x")]), "/login/none"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(!page.headers.contains_key("access-control-allow-origin"), "{path}");
        assert!(!page.html.contains("<script"), "{path}");
    }
    stage.stop().await;
}

/// The place to go on to after signing in is another site, a script, or sealed for something else (open redirect) →
/// refused, and nobody is signed in by it.
#[tokio::test]
async fn places_to_go_on_to() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    browser.get("/login").await;
    let session = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
    for target in
        ["https://evil.test", "//evil.test", "/\\evil.test", "javascript:alert(1)", "/agents", "AAAA", &session]
    {
        assert_eq!(browser.get(&format!("/login?continue={target}")).await.status, 400, "{target}");
        let form = browser.get("/login").await.form("/login").with("continue", target);
        let page = browser.submit("/login", &form.with("user", "ada").with("password", PASSWORD).0).await;
        assert_eq!(page.status, 400, "{target}");
        assert!(!page.headers.contains_key("location") && !page.headers.contains_key("set-cookie"), "{target}");
    }
    stage.stop().await;
}

/// The consent form of one user or browser is sent in another's, whole or in parts → refused.
#[tokio::test]
async fn the_consent_of_another_session() {
    let stage = Stage::start().await;
    let (mut ada, mut bob) = (stage.signed_in("ada").await, stage.signed_in("bob").await);
    let mut other_ada = stage.signed_in("ada").await;
    let form = |fields: Fields| fields.with("decision", "allow");
    let of_ada = form(ada.get(&authorize(&[])).await.form("/consent"));
    let of_bob = form(bob.get(&authorize(&[])).await.form("/consent"));
    assert_eq!(bob.submit("/consent", &of_ada.0).await.status, 403);
    assert_eq!(other_ada.submit("/consent", &of_ada.0).await.status, 403, "not even in another browser of hers");
    let mixed = of_bob.clone().without("request").with("request", of_ada.value("request"));
    assert_eq!(bob.submit("/consent", &mixed.0).await.status, 400, "her request under his ticket");
    let swapped = of_bob.clone().without("form").with("form", bob.get("/agents").await.form("/logout").value("form"));
    assert_eq!(bob.submit("/consent", &swapped.0).await.status, 403, "the ticket of another form");
    let doubled = of_bob.clone().with("request", of_ada.value("request"));
    assert_eq!(bob.submit("/consent", &doubled.0).await.status, 400, "two requests at once");
    assert_eq!(bob.submit("/consent", &of_bob.0).await.status, 303);
    stage.stop().await;
}

/// The consent form is sent again after signing out, after somebody else signed in, or after an hour → refused.
#[tokio::test]
async fn consent_from_before() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    let out = browser.get("/agents").await.form("/logout");
    assert_eq!(browser.submit("/logout", &out.0).await.status, 200);
    assert_eq!(browser.submit("/consent", &consent.0).await.status, 403, "signed out");
    browser.sign_in("/login", "bob", PASSWORD).await;
    assert_eq!(browser.submit("/consent", &consent.0).await.status, 403, "somebody else");
    let again = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    stage.clock.set(after(3600));
    let page = browser.submit("/consent", &again.0).await;
    assert_eq!(page.status, 400);
    assert!(!page.headers.contains_key("location"));
    stage.stop().await;
}

/// Parts of the sealed request on the consent page are exchanged, cut or made up → refused.
#[tokio::test]
async fn a_tampered_request() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let form = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    let request = form.value("request").to_owned();
    for at in (0..request.len()).step_by(53) {
        let mut bytes = request.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = form.clone().without("request").with("request", &String::from_utf8(bytes).unwrap());
        assert_eq!(browser.submit("/consent", &changed.0).await.status, 400, "at {at}");
    }
    for value in ["", "x", &request[..request.len() / 2], form.value("form")] {
        let changed = form.clone().without("request").with("request", value);
        assert_eq!(browser.submit("/consent", &changed.0).await.status, 400);
    }
    let moved = form.clone().with("redirect_uri", "https://evil.test/").with("client_id", "other");
    let page = browser.submit("/consent", &moved.0).await;
    assert!(stage.answered(&page).starts_with(&format!("{CALLBACK}?code=")), "only what is sealed counts");
    stage.stop().await;
}

/// An agent is made to take this server's answer for another's (mix-up) → every answer, good or bad, names the issuer
/// exactly once (RFC 9207), as its metadata do.
#[tokio::test]
async fn mix_up() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let metadata = stage.send(stage.http.get(format!("{}/.well-known/oauth-authorization-server", stage.origin))).await;
    let issuer = metadata.json()["issuer"].as_str().unwrap().to_owned();
    let mut answers = vec![stage.consent(&mut browser, &[]).await];
    let denied =
        browser.get(&authorize(&[("iss", "https://evil.test")])).await.form("/consent").with("decision", "deny");
    answers.push(browser.submit("/consent", &denied.0).await.location().to_owned());
    for wrong in [("scope", "x"), ("response_type", "token"), ("resource", "https://evil.test")] {
        answers.push(browser.get(&authorize(&[wrong])).await.location().to_owned());
    }
    for answer in answers {
        assert_eq!(parameter(&answer, "iss").unwrap(), issuer);
        assert_eq!(answer.matches("iss=").count(), 1, "{answer}");
    }
    stage.stop().await;
}

/// What a sign-in at a provider began with is used in another browser, at another login, twice, or made up → refused,
/// and nobody is signed in.
#[tokio::test]
async fn a_providers_answer_in_another_browser() {
    // Nothing is ever asked of this provider: every answer is refused before.
    let hub: Login = serde_json::from_value(json!({"name": "hub", "github": {"url": "https://github.example.com",
        "clientSecretRef": {"name": "github"}, "allowedOrganizations": ["acme"]}}))
    .unwrap();
    let stage = Stage::with(|setup| setup.config.login.push(hub)).await;
    let mut mallory = stage.browser();
    let begun = mallory.get("/login/hub").await;
    let state = parameter(begun.location(), "state").unwrap();
    stage.secrets.keep(&state);
    let callback = format!("/login/hub/callback?code=abc&state={state}");
    let mut victim = stage.browser();
    assert_eq!(victim.get(&callback).await.status, 400, "of a browser that never was here");
    victim.get("/login").await;
    assert_eq!(victim.get(&callback).await.status, 400, "of another browser");
    let mut ada = stage.signed_in("ada").await;
    assert_eq!(ada.get(&callback).await.status, 400, "of somebody who is signed in");
    assert!(ada.get("/agents").await.text().contains("Signed in as ada"));
    let theirs = parameter(ada.get("/login/hub").await.location(), "state").unwrap();
    for query in [
        String::new(),
        "code=abc".to_owned(),
        "code=abc&state=".to_owned(),
        "code=abc&state=AAAA".to_owned(),
        format!("code=abc&state={theirs}"),
        format!("code=abc&state={state}&state={state}"),
        format!("code=abc&state={}", &state[..state.len() - 4]),
    ] {
        assert_eq!(mallory.get(&format!("/login/hub/callback?{query}")).await.status, 400, "{query}");
    }
    assert_eq!(mallory.get(&callback.replace("hub", "local")).await.status, 400, "of another login");
    stage.clock.set(after(3600));
    assert_eq!(mallory.get(&callback).await.status, 400, "too late");
    assert_eq!(mallory.get("/agents").await.path(), "/login");
    stage.stop().await;
}

/// A user revokes what is another's, with a crafted form → nothing happens to it.
#[tokio::test]
async fn the_agents_of_another_user() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let mut bob = stage.signed_in("bob").await;
    let code = parameter(&stage.consent(&mut bob, &[]).await, "code").unwrap();
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    let page = bob.get("/agents").await;
    assert!(!page.html.contains(&tokens.grant));
    let crafted = page.form("/agents/revoke").without("grant").with("grant", &tokens.grant);
    bob.submit("/agents/revoke", &crafted.0).await;
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.stop().await;
}

/// Passwords are guessed, for one account from one address or from many → slowed down, and the answer does not tell
/// whether there is such a user.
#[tokio::test]
async fn guessed_passwords() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let known = browser.sign_in("/login", "ada", "a wrong password").await;
    let unknown = browser.sign_in("/login", "nobody", "a wrong password").await;
    assert_eq!((known.status, unknown.status), (unknown.status, known.status));
    let alert = |page: &crate::driven::Page| {
        let text = page.html.split_once("role=\"alert\"").unwrap().1;
        text.split_once("</").unwrap().0.to_owned()
    };
    assert_eq!(alert(&known), alert(&unknown));
    stage.secrets.keep("a wrong password");
    let mut limited = false;
    for _ in 0..50 {
        let page = browser.sign_in("/login", "ada", "a wrong password").await;
        assert!(matches!(page.status.as_u16(), 403 | 429));
        limited |= page.status == 429;
    }
    assert!(limited);
    let right = browser.sign_in("/login", "ada", PASSWORD).await;
    assert_eq!(right.status, 429, "not even the right one is looked at");
    stage.stop().await;
}
