//! Requests that a person did not mean to make.

use crate::pages::stage::{PASSWORD, Stage, authorize, log, start_of_time};
use jiff::SignedDuration;

/// What a browser says of a form that another site sent.
const CROSS_SITE: [&[(&str, &str)]; 4] = [
    &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
    &[("origin", "null"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://app.example.com")],
    &[("sec-fetch-site", "same-site")],
];

#[tokio::test]
async fn forms_of_other_sites_do_nothing() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    let agents = browser.get("/agents").await;
    let sign_in = browser.get("/login").await.form("/login").with("user", "bob").with("password", PASSWORD);
    for headers in CROSS_SITE {
        for (path, form) in [("/consent", &consent), ("/logout", &agents.form("/logout")), ("/login", &sign_in)] {
            let page = browser.submit_from(path, &form.0, headers).await;
            assert_eq!(page.status, 403, "{path} {headers:?}");
            assert!(page.text().contains("nothing was done"), "{}", page.text());
            assert!(!page.headers.contains_key("location") && !page.headers.contains_key("set-cookie"));
        }
    }
    assert!(browser.get("/agents").await.text().contains("Signed in as ada"));
    stage.stop().await;
}

#[tokio::test]
async fn a_form_counts_for_the_browser_that_it_was_made_for_only() {
    let stage = Stage::start().await;
    let mut mallory = stage.signed_in("bob").await;
    let mut ada = stage.signed_in("ada").await;
    let theirs = mallory.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    let own = ada.get(&authorize(&[])).await.form("/consent").with("decision", "allow");

    // Mallory's form in Ada's browser, Mallory's request under Ada's ticket, and no ticket at all.
    assert_eq!(ada.submit("/consent", &theirs.0).await.status, 403);
    let mixed = own.clone().without("request").with("request", theirs.value("request"));
    assert_eq!(ada.submit("/consent", &mixed.0).await.status, 400);
    assert_eq!(ada.submit("/consent", &own.clone().without("form").0).await.status, 403);
    // A ticket for another form, and twice the same field.
    let ticket = ada.get("/agents").await.form("/logout");
    let swapped = own.clone().without("form").with("form", ticket.value("form"));
    assert_eq!(ada.submit("/consent", &swapped.0).await.status, 403);
    let twice = own.clone().with("form", own.value("form"));
    assert_eq!(ada.submit("/consent", &twice.0).await.status, 403);
    // Without the cookie.
    let cookie = ada.cookie.take();
    let page = ada.submit("/consent", &own.0).await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains("cookie"), "{}", page.text());
    ada.cookie = cookie;
    assert_eq!(ada.submit("/consent", &own.0).await.status, 303);
    stage.stop().await;
}

#[tokio::test]
async fn nobody_can_be_signed_in_as_somebody_else() {
    let stage = Stage::start().await;
    let (mut mallory, mut victim) = (stage.browser(), stage.browser());
    let theirs = mallory.get("/login").await.form("/login").with("user", "bob").with("password", PASSWORD);

    // A stranger's form has another browser's ticket, and in a browser that never was here not even a cookie.
    assert_eq!(victim.submit("/login", &theirs.0).await.status, 403);
    assert_eq!(victim.cookie, None);
    victim.get("/login").await;
    let page = victim.submit("/login", &theirs.0).await;
    assert_eq!(page.status, 403);
    assert!(page.html.contains("href=\"/login\""), "the way to a fresh form: {}", page.html);
    assert_eq!(victim.get("/agents").await.path(), "/login");
    assert_eq!(mallory.submit("/login", &theirs.0).await.status, 303);
    stage.stop().await;
}

#[tokio::test]
async fn a_session_from_before_signing_in_is_worth_nothing_after() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let before = browser.get("/login").await;
    let planted = browser.cookie.clone().unwrap();
    let form = before.form("/login").with("user", "ada").with("password", PASSWORD);
    assert_eq!(browser.submit("/login", &form.0).await.status, 303);
    let own = browser.cookie.clone().unwrap();
    assert_ne!(own, planted);

    let mut mallory = stage.browser();
    mallory.cookie = Some(planted);
    assert_eq!(mallory.get("/agents").await.path(), "/login");
    // And the form of before is of no use in the session of after.
    let page = browser.submit("/login", &form.0).await;
    assert_eq!(page.status, 403);
    stage.stop().await;
}

#[tokio::test]
async fn what_was_sealed_has_its_time() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    let mut stranger = stage.browser();
    let sign_in = stranger.get(&authorize(&[])).await.path().to_owned();
    let form = stranger.get(&sign_in).await.form("/login").with("user", "ada").with("password", PASSWORD);

    stage.clock.set(start_of_time() + SignedDuration::from_hours(1));
    for page in [
        browser.submit("/consent", &consent.0).await,
        stranger.get(&sign_in).await,
        stranger.submit("/login", &form.0).await,
    ] {
        assert_eq!(page.status, 400);
        assert!(page.text().contains("This request has expired"), "{}", page.text());
        assert!(!page.headers.contains_key("location"));
    }
    assert_eq!(stranger.get("/agents").await.path(), "/login", "an expired request signs nobody in");
    stage.stop().await;
}

#[tokio::test]
async fn passwords_are_asked_for_again_and_failures_are_in_the_audit() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let page = browser.sign_in("/login", "ada", "a wrong password").await;
    assert_eq!(page.status, 403);
    assert!(page.html.contains("role=\"alert\""), "{}", page.html);
    assert!(page.html.contains("value=\"ada\"") && !page.html.contains("a wrong password"));
    assert!(page.html.contains("aria-describedby=\"problem\""));
    // What was typed into the wrong field must not be found in the log.
    let page = browser.sign_in("/login", "hunter2-is-my-password", "x").await;
    assert_eq!(page.status, 403);

    let failed = log().audit("sign_in.refused");
    assert!(failed.iter().any(|event| event["user"] == "local:ada" && event["reason"] == "wrong_password"));
    let form = browser.get("/login").await.form("/login").without("login").with("login", "else");
    let page = browser.submit("/login", &form.with("user", "ada").with("password", "x").0).await;
    assert_eq!(page.status, 404);

    let mut limited = None;
    for _ in 0..50 {
        let page = browser.sign_in("/login", "bob", "wrong").await;
        if page.status == 429 {
            limited = Some(page);
            break;
        }
    }
    let limited = limited.expect("guessing is slowed down");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);

    browser.cookie = None;
    browser.get("/login").await;
    let cookie = browser.cookie.clone().unwrap();
    let text = log().text();
    for secret in ["hunter2", "a wrong password", PASSWORD, cookie.split_once('=').unwrap().1] {
        assert!(!text.contains(secret), "{secret}");
    }
    stage.stop().await;
}
