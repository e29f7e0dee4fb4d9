//! Administration: what other users, administrators and former administrators see and can do.

use crate::pages::{
    browser::{Browser, Fields, Page},
    stage::{PASSWORD, Stage, authorize, log, start_of_time},
};
use jiff::SignedDuration;
use portcullis_config::{LoginSecret, LoginSecrets};
use portcullis_core::console::Administrators;
use regex::Regex;
use std::time::Duration;

const PATH: &str = "/console/administration";

/// An endpoint with an administrator by id and a group of administrators.
async fn stage() -> Stage {
    let mut stage = Stage::with(|config| {
        config.console.administrators =
            Administrators { users: vec!["local:root".to_owned()], groups: vec!["local:ops".to_owned()] };
    })
    .await;
    members(&mut stage, &["olga", "former"]);
    stage
}

/// Sets the members of the group.
fn members(stage: &mut Stage, names: &[&str]) {
    let mut secrets: LoginSecrets = serde_json::from_slice(&stage.files.login).unwrap();
    let members = names.iter().map(|name| (*name).to_owned()).collect();
    secrets.groups = [("local".to_owned(), [("ops".to_owned(), members)].into())].into();
    stage.files.login = serde_json::to_vec(&secrets).unwrap();
    stage.volume.replace(&stage.files);
}

/// Waits until the server has loaded changed files: a page has this status then.
async fn until(browser: &mut Browser, path: &str, status: u16) {
    let reached = async {
        while browser.get(path).await.status != status {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reached).await.expect("the files are loaded");
}

async fn connect(stage: &Stage, browser: &mut Browser) -> String {
    let page = browser.allow(&authorize(&[])).await;
    stage.redeem(page.location()).await["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_users_and_administrators_see_exactly_what_they_may() {
    let mut stage = stage().await;
    let visitor = stage.browser();
    let (mut bob, mut ada) = (stage.signed_in("bob").await, stage.signed_in("ada").await);
    let (mut root, mut olga) = (stage.signed_in("root").await, stage.signed_in("olga").await);
    let mut former = stage.signed_in("former").await;
    let (of_bob, of_ada) = (connect(&stage, &mut bob).await, connect(&stage, &mut ada).await);

    until(&mut former, PATH, 200).await;
    let end = format!("{PATH}/end");
    let ending = format!("{end}?user=local%3Abob");
    let token = |page: &Page| page.form(&end).value("form").to_owned();
    let by_former = token(&former.get(&ending).await);
    members(&mut stage, &["olga"]);
    until(&mut former, PATH, 404).await;
    let by_root = token(&root.get(&ending).await);
    let by_olga = token(&olga.get(&ending).await);

    // A visitor, another user, the user of these pages, an administrator by id and by group, a former one.
    let mut browsers = [visitor, ada, bob, root, olga, former];
    let pages = [
        ("/console/", [200, 200, 200, 200, 200, 200]),
        ("/agents", [303, 200, 200, 200, 200, 200]),
        (PATH, [303, 404, 404, 200, 200, 404]),
        ("/console/administration?user=local:bob", [303, 404, 404, 200, 200, 404]),
        (ending.as_str(), [303, 404, 404, 200, 200, 404]),
        ("/console/administration/end?user=local:unknown", [303, 404, 404, 404, 404, 404]),
        ("/console/administration/end?user=client:agent", [303, 404, 404, 404, 404, 404]),
        ("/console/administration/end", [303, 404, 404, 400, 400, 404]),
        // This server has no workspaces; tests/sign_in has the rows of one with workspaces.
        ("/console/administration/workspaces", [303, 404, 404, 403, 403, 404]),
        ("/console/administration/other", [404, 404, 404, 404, 404, 404]),
    ];
    for (path, statuses) in pages {
        for (browser, status) in browsers.iter_mut().zip(statuses) {
            let page = browser.get(path).await;
            assert_eq!(page.status, status, "{path}: {}", page.text());
            if status == 404 && path == PATH {
                assert!(page.text().contains("There is no such page"), "{}", page.text());
            }
        }
    }
    let shown = browsers[3].get(PATH).await.text();
    for words in ["local:ada", "local:bob", "Claude", "See your workspaces", "Last used", "local:olga"] {
        assert!(shown.contains(words), "{words:?} in {shown}");
    }
    for (index, has) in [false, false, false, true, true, false].into_iter().enumerate() {
        assert_eq!(browsers[index].get("/console/").await.text().contains("Administration"), has, "{index}");
    }

    let page = browsers[3].get("/console/administration?user=local:ada").await;
    let grant = page.form(&format!("{PATH}/revoke")).value("grant").to_owned();
    // A token of another browser is worth nothing.
    let tokens = [&by_root, &by_root, &by_root, &by_root, &by_olga, &by_former];
    let actions = [
        ("revoke", vec![("user", "local:ada"), ("grant", grant.as_str())], [403, 403, 403, 303, 303, 404]),
        ("end", vec![("user", "local:unknown")], [403, 403, 403, 404, 404, 404]),
        ("end", vec![], [403, 403, 403, 400, 400, 404]),
        ("revoke", vec![("user", "local:ada")], [403, 403, 403, 400, 400, 404]),
        // The last one: it ends the session of the user, too.
        ("end", vec![("user", "local:bob")], [403, 403, 403, 303, 303, 404]),
    ];
    let statuses = async |stage: &Stage| (stage.call(&of_ada).await, stage.call(&of_bob).await);
    for (action, fields, expected) in actions {
        for (index, (browser, status)) in browsers.iter_mut().zip(expected).enumerate() {
            if action == "revoke" && index == 3 {
                assert_eq!(statuses(&stage).await.1, 200, "nothing was done to bob");
            }
            let form = fields.iter().fold(Fields(Vec::new()), |form, (name, value)| form.with(name, value));
            let form = form.with("form", tokens[index]);
            let page = browser.submit(&format!("{PATH}/{action}"), &form.0).await;
            assert_eq!(page.status, status, "{action} {fields:?} {index}: {}", page.text());
        }
    }
    assert_eq!(statuses(&stage).await, (401, 401), "both agents are cut off");
    let [_, ada, bob, ..] = &mut browsers;
    let page = ada.get("/agents").await;
    assert!(page.text().contains("ended when an administrator ended your access"), "{}", page.text());
    assert_eq!(bob.get("/agents").await.path(), "/login", "bob's session ended");
    let refused = bob.sign_in("/login", "bob", PASSWORD).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    stage.clock.set(start_of_time() + SignedDuration::from_secs(1));
    assert_eq!(bob.sign_in("/login", "bob", PASSWORD).await.path(), "/agents", "bob may come back");

    let by = |event: &str, user: &str| {
        let events = log().audit(event);
        events.into_iter().filter(|event| event["user"] == user && event["administrator"] == "local:root").count()
    };
    assert_eq!(by("administration.user_ended", "local:bob"), 1);
    assert_eq!(by("administration.agent_revoked", "local:ada"), 1);
    stage.stop().await;
}

#[tokio::test]
async fn without_administrators_there_is_no_administration() {
    let stage = Stage::start().await;
    assert_eq!(stage.signed_in("root").await.get(PATH).await.status, 404);
    stage.stop().await;
}

#[tokio::test]
async fn users_come_in_pages() {
    let mut stage = stage().await;
    let mut secrets: LoginSecrets = serde_json::from_slice(&stage.files.login).unwrap();
    let Some(LoginSecret::Passwords(users)) = secrets.logins.get_mut("local") else { panic!("there are local users") };
    let hash = users["ada"].clone();
    users.extend((0..60).map(|number| (format!("user-{number:02}"), hash.clone())));
    stage.files.login = serde_json::to_vec(&secrets).unwrap();
    stage.volume.replace(&stage.files);
    let mut root = stage.signed_in("root").await;
    until(&mut root, &format!("{PATH}/end?user=local:user-59"), 200).await;

    let ids = Regex::new("<code>(local:[a-z0-9-]+)</code></p>").unwrap();
    let (mut path, mut found) = (PATH.to_owned(), Vec::new());
    loop {
        let page = root.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        let before = found.len();
        found.extend(ids.captures_iter(&page.html).map(|id| id[1].to_owned()));
        assert!(found.len() - before <= 25, "{path}");
        let Some((_, next)) = page.html.split_once("href=\"/console/administration?after=") else { break };
        path = format!("{PATH}?after={}", next.split_once('"').unwrap().0);
    }
    assert_eq!(found.len(), 65, "{found:?}");
    assert!(found.is_sorted_by(|one, other| one < other), "{found:?}");
    stage.stop().await;
}
