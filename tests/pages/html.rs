//! What people who do not see a page, or have no mouse, depend on: structure.

use crate::pages::{
    browser::{Page, attributes},
    stage::{CALLBACK, PASSWORD, Stage, authorize, owner},
};
use portcullis_agent::protocol::{Actor, RemovePath, WriteFile};
use portcullis_workspaces::Purpose;
use regex::Regex;

/// What every page has to be.
fn check(what: &str, page: &Page) {
    let html = &page.html;
    let count = |pattern: &str| Regex::new(pattern).unwrap().find_iter(html).count();
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{what}");
    assert_eq!(count("<h1[ >]"), 1, "{what}");
    assert_eq!(count("<main[ >]"), 1, "{what}");
    assert_eq!(count("<title>[^<]+</title>"), 1, "{what}");
    assert_eq!(count("name=\"viewport\""), 1, "{what}");
    assert!(!html.contains("tabindex") && !html.contains("user-scalable"), "{what}");

    let tags: Vec<String> =
        Regex::new("<[a-z][^>]*>").unwrap().find_iter(html).map(|tag| tag.as_str().to_owned()).collect();
    let ids: Vec<String> = tags.iter().filter_map(|tag| attributes(tag).get("id").cloned()).collect();
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "{what}: each id once");
    for tag in &tags {
        let attributes = attributes(tag);
        for reference in ["aria-describedby", "aria-labelledby", "for"] {
            if let Some(id) = attributes.get(reference) {
                assert!(ids.contains(id), "{what}: {tag} refers to nothing");
            }
        }
        if let Some(id) = attributes.get("href").and_then(|href| href.strip_prefix('#')) {
            assert!(ids.contains(&id.to_owned()), "{what}: {tag} leads nowhere");
        }
        if tag.starts_with("<input") && attributes["type"] != "hidden" {
            let label = format!("<label for=\"{}\">", attributes["id"]);
            assert!(html.contains(&label), "{what}: {tag} has no label");
        }
        if tag.starts_with("<svg") {
            assert_eq!(attributes["aria-hidden"], "true", "{what}");
        }
        if tag.starts_with("<button") {
            assert_eq!(attributes["type"], "submit", "{what}");
        }
    }
    // Headings go down one level at a time.
    let levels: Vec<u8> =
        Regex::new("<h([1-6])").unwrap().captures_iter(html).map(|level| level[1].parse().unwrap()).collect();
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{what}: {levels:?}");
}

#[tokio::test]
async fn every_page_is_whole_for_everybody() {
    let stage = Stage::start().await;
    stage.register("dyn-1", "Some agent", CALLBACK).await;
    let mut browser = stage.browser();
    let page = browser.get("/login").await;
    check("sign-in", &page);
    assert!(page.html.contains("autocomplete=\"username\"") && page.html.contains("autocomplete=\"current-password\""));
    assert!(page.html.contains(">User name</label>") && page.html.contains(">Password</label>"));
    assert!(page.html.contains(">Sign in</button>"));
    let page = browser.sign_in("/login", "ada", "wrong").await;
    check("sign-in, failed", &page);
    assert!(page.html.contains("<title>Error: "), "the title says it first");
    browser.sign_in("/login", "ada", PASSWORD).await;

    check("agents, none", &browser.get("/agents").await);
    for client in ["agent", "dyn-1"] {
        let page = browser.get(&authorize(&[("client_id", client)])).await;
        check("consent", &page);
        assert!(page.html.contains("<fieldset>") && page.html.contains("<legend>"));
        assert!(page.html.contains(">Allow</button>") && page.html.contains(">Deny</button>"));
        let form = page.form("/consent").with("decision", "allow");
        let page = browser.submit("/consent", &form.clone().without("scope").0).await;
        check("consent, failed", &page);
        assert!(page.html.contains("<title>Error: "));
        if client == "agent" {
            let page = browser.submit("/consent", &form.0).await;
            stage.redeem(page.location()).await;
        }
    }
    let page = browser.get("/agents").await;
    check("agents", &page);
    let form = page.form("/agents/revoke");
    browser.submit("/agents/revoke", &form.0).await;
    check("agents, revoked", &browser.get("/agents").await);
    check("error", &browser.get("/login/none").await);
    let form = browser.get("/agents").await.form("/logout");
    check("signed out", &browser.submit("/logout", &form.0).await);
    stage.stop().await;
}

#[tokio::test]
async fn every_page_of_workspaces_is_accessible() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut browser = stage.signed_in("ada").await;
    check("workspaces, none", &browser.get("/console/workspaces").await);
    let web = stage.workspace("ada", "web").await;
    stage.workspace("ada", "slow").await;
    let page = browser.get("/console/workspaces").await;
    check("workspaces", &page);
    // Each button and link says which workspace it is about.
    assert!(page.text().contains("Stop web") && page.text().contains("Delete slow"), "{}", page.text());
    check("workspace", &browser.get(&format!("/console/workspaces/{}", web.id)).await);
    check("workspace, no activity", &browser.get("/console/workspaces/web/activity").await);
    let actor = Actor { client_id: "agent".to_owned(), user: "local:bob".to_owned(), grant: None };
    let agent = stage.workspaces().agent(&owner("ada"), "web", Purpose::Work).await.unwrap().acting_as(&actor);
    agent.write_file(&WriteFile { path: "a".to_owned(), ..WriteFile::default() }).await.unwrap();
    agent.remove_path(&RemovePath { path: "b".to_owned(), recursive: false }).await.unwrap_err();
    let page = browser.get("/console/workspaces/web/activity?client=agent&before=3").await;
    assert!(page.text().contains("failed: not found") && page.text().contains("for local:bob"), "{}", page.text());
    check("workspace, activity", &page);
    check("workspace, starting", &browser.get("/console/workspaces/slow").await);
    check("workspace, deletion", &browser.get("/console/workspaces/web/delete").await);
    check("workspace, unknown", &browser.get("/console/workspaces/none").await);
    let form = browser.get("/agents").await.form("/agents/sign-out-everywhere");
    check("signed out everywhere", &browser.submit("/agents/sign-out-everywhere", &form.0).await);
    stage.stop().await;
}
