//! Connected agents: seeing them, cutting them off, signing out.

use crate::pages::{
    browser::Browser,
    stage::{Stage, authorize, log},
};

async fn connect(stage: &Stage, browser: &mut Browser) -> String {
    let page = browser.get(&authorize(&[])).await;
    let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
    let token = stage.redeem(page.location()).await;
    token["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_agent_is_listed_and_cut_off_alone() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let page = browser.get("/agents").await;
    assert!(page.text().contains("No agent has access") && page.text().contains("/mcp"), "{}", page.text());

    let (laptop, desktop) = (connect(&stage, &mut browser).await, connect(&stage, &mut browser).await);
    assert_eq!((stage.call(&laptop).await, stage.call(&desktop).await), (200, 200));
    let page = browser.get("/agents").await;
    let text = page.text();
    for words in
        ["Claude", "See your workspaces", "Read the files in your workspaces", "Since", "Expires", "in 30 days"]
    {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert_eq!(text.matches("Revoke access of Claude, connected").count(), 2, "{text}");

    let form = page.form("/agents/revoke");
    let grant = form.value("grant").to_owned();
    let page = browser.submit("/agents/revoke", &form.0).await;
    assert_eq!(page.path(), "/agents");
    let mut after = [stage.call(&laptop).await, stage.call(&desktop).await];
    after.sort_unstable();
    assert_eq!(after, [200, 401], "one of the two, at once");
    let text = browser.get("/agents").await.text();
    assert!(text.contains("No longer connected") && text.contains("you revoked its access"), "{text}");
    assert_eq!(text.matches("Revoke access of Claude").count(), 1);
    let revoked = log().audit("grant.revoked");
    assert!(revoked.iter().any(|event| event["grant"] == grant && event["user"] == "local:ada"), "{revoked:?}");

    // Again, and one that never was: as the user wants it.
    assert_eq!(browser.submit("/agents/revoke", &form.0).await.path(), "/agents");
    let other = form.without("grant").with("grant", "g-0000");
    assert_eq!(browser.submit("/agents/revoke", &other.0).await.path(), "/agents");
    stage.stop().await;
}

#[tokio::test]
async fn nobody_cuts_off_somebody_elses_agent() {
    let stage = Stage::start().await;
    let mut ada = stage.signed_in("ada").await;
    let token = connect(&stage, &mut ada).await;
    let theirs = ada.get("/agents").await.form("/agents/revoke");

    let mut bob = stage.signed_in("bob").await;
    assert!(bob.get("/agents").await.text().contains("No agent has access"));
    connect(&stage, &mut bob).await;
    let own = bob.get("/agents").await.form("/agents/revoke");
    let crafted = own.without("grant").with("grant", theirs.value("grant"));
    assert_eq!(bob.submit("/agents/revoke", &crafted.0).await.path(), "/agents");
    assert_eq!(bob.submit("/agents/revoke", &theirs.0).await.status, 403);
    assert_eq!(stage.call(&token).await, 200);

    let cross = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    assert_eq!(ada.submit_from("/agents/revoke", &theirs.0, &cross).await.status, 403);
    assert_eq!(stage.call(&token).await, 200);
    ada.cookie = None;
    assert_eq!(ada.submit("/agents/revoke", &theirs.0).await.status, 403);
    assert_eq!(stage.call(&token).await, 200);
    stage.stop().await;
}

#[tokio::test]
async fn signing_out_ends_the_session_and_not_the_agents() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let token = connect(&stage, &mut browser).await;
    let form = browser.get("/agents").await.form("/logout");
    let page = browser.submit("/logout", &form.0).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("You are signed out"), "{}", page.text());
    assert!(page.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(browser.cookie, None);
    assert_eq!(browser.get("/agents").await.path(), "/login");
    assert_eq!(stage.call(&token).await, 200);
    assert_eq!(browser.submit("/logout", &form.0).await.status, 200, "reloading the page is fine");
    assert!(log().audit("user.signed_out").iter().any(|event| event["user"] == "local:ada"));
    stage.stop().await;
}
