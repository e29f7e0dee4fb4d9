//! Administration with the whole program: administrators of a manifest that admission lets in, groups of a Secret, agents
//! and workspaces. Two users and administrators see exactly what they may.

use crate::{
    browser::Browser,
    form_browser::{self, Fields},
    pages::check,
    stage::{Manifests, PASSWORD, PUBLIC, Stage, USER},
};
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use portcullis_core::{
    Scope,
    clock::{Clock as _, SystemClock},
    grant::GrantUser,
};
use portcullis_oauth::grant::{Grant, Grants};
use portcullis_workspaces::{CreateWorkspace, Owner, Status, Workspaces as _};
use serde_json::{Value, json};

const PATH: &str = "/console/administration";
const WORKSPACES: &str = "/console/administration/workspaces";

/// An endpoint whose users each have an agent and a workspace, with an administrator by id and one by group.
async fn stage() -> Stage {
    let mut manifests = Manifests::new();
    manifests.endpoint["console"] =
        json!({"administrators": {"users": ["local:root"], "groups": ["local:ops", "local:empty"]}});
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let users: String = [USER, "bob", "root", "olga"].map(|user| format!("{user}:{hash}\n")).concat();
    let secret = manifests.secrets.get_mut("users").unwrap();
    secret.insert("htpasswd".to_owned(), ByteString(users.into()));
    secret.insert("groups".to_owned(), ByteString("# group: members\nops: olga\nstaff: bob\n".into()));
    let stage = manifests.start().await;

    for user in [USER, "bob"] {
        let id = format!("local:{user}");
        let owner = Owner { id: id.clone(), name: user.to_owned() };
        let name = format!("of-{user}");
        let (template, parameters) = ("blank".to_owned(), [].into());
        stage.workspaces.create(&owner, CreateWorkspace { template, name, parameters, wait: None }).await.unwrap();
        // Not later than the clock of the stage, which stands still.
        let now = SystemClock.now() - SignedDuration::from_mins(1);
        let grant = Grant {
            name: format!("g-{user}"),
            client_id: PUBLIC.to_owned(),
            user: GrantUser { id, name: user.to_owned() },
            scopes: [Scope::WorkspacesRead].into(),
            resource: stage.url.clone(),
            created_at: now,
            signed_in_at: now,
            expires_at: now + SignedDuration::from_hours(2),
            refresh: None,
            evidence: None,
            revoked: None,
            last_used: None,
            version: String::new(),
        };
        Grants::create(&*stage.state, grant).await.unwrap();
    }
    stage
}

async fn signed_in(stage: &Stage, user: &str) -> form_browser::Browser {
    let mut browser = visitor(stage);
    assert_eq!(browser.sign_in("/login", user, PASSWORD).await.status, 303);
    browser
}

fn visitor(stage: &Stage) -> form_browser::Browser {
    let _ = rustls::crypto::ring::default_provider().install_default();
    form_browser::Browser::new(&stage.origin, &stage.origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_and_administrators_see_exactly_what_they_may() {
    let stage = stage().await;
    let owner = Owner { id: format!("local:{USER}"), name: USER.to_owned() };
    let workspace = stage.workspaces.get(&owner, &format!("of-{USER}")).await.unwrap().id;
    let named = format!("owner=local%3A{USER}&workspace={workspace}");
    let deletion = format!("{WORKSPACES}/delete?{named}");
    let mut browsers = [
        visitor(&stage),
        signed_in(&stage, "bob").await,
        signed_in(&stage, USER).await,
        signed_in(&stage, "root").await,
        signed_in(&stage, "olga").await,
    ];

    // A visitor, another user, the owner, an administrator by id, and one by group.
    for (path, statuses) in [
        ("/console/workspaces", [303, 200, 200, 200, 200]),
        (&*format!("/console/workspaces/{workspace}"), [303, 404, 200, 404, 404]),
        (PATH, [303, 404, 404, 200, 200]),
        (&*format!("{PATH}/end?user=local:{USER}"), [303, 404, 404, 200, 200]),
        (WORKSPACES, [303, 404, 404, 200, 200]),
        (&*format!("{WORKSPACES}?cursor=made-up"), [303, 404, 404, 400, 400]),
        (&*deletion, [303, 404, 404, 200, 200]),
        (&*format!("{WORKSPACES}/delete?owner=local%3Abob&workspace={workspace}"), [303, 404, 404, 404, 404]),
    ] {
        for (browser, status) in browsers.iter_mut().zip(statuses) {
            let page = browser.get(path).await;
            assert_eq!(page.status, status, "{path}: {}", page.text());
        }
    }
    for (index, path, sees) in [
        (1, "/console/workspaces", [false, true]),
        (2, "/console/workspaces", [true, false]),
        (3, "/console/workspaces", [false, false]),
        (3, WORKSPACES, [true, true]),
        (4, WORKSPACES, [true, true]),
        (3, PATH, [true, true]),
    ] {
        let text = browsers[index].get(path).await.text();
        let expected = if path == PATH {
            [USER, "bob"].map(|user| format!("local:{user}"))
        } else {
            [USER, "bob"].map(|user| format!("of-{user}"))
        };
        assert_eq!(expected.map(|name| text.contains(&name)), sees, "{index} {path}: {text}");
    }

    let page = browsers[3].get(&deletion).await;
    let deleting = page.form(&format!("{WORKSPACES}/delete"));
    let token = deleting.value("form").to_owned();
    let by_olga = browsers[4].get(&deletion).await.form(&format!("{WORKSPACES}/delete")).value("form").to_owned();
    let tokens = [&token, &token, &token, &token, &by_olga];
    let stopping = Fields(Vec::new()).with("owner", &owner.id).with("workspace", &workspace);
    for (action, status, statuses) in
        [("stop", Some(Status::Stopped), [403, 403, 403, 303, 303]), ("delete", None, [403, 403, 403, 303, 404])]
    {
        for (index, (browser, expected)) in browsers.iter_mut().zip(statuses).enumerate() {
            let form = stopping.clone().with("form", tokens[index]);
            let page = browser.submit(&format!("{WORKSPACES}/{action}"), &form.0).await;
            assert_eq!(page.status, expected, "{action} {index}: {}", page.text());
            let found = stage.workspaces.get(&owner, &workspace).await.ok().map(|found| found.status);
            let before = if action == "stop" { Some(Status::Running) } else { Some(Status::Stopped) };
            assert_eq!(found, if index < 3 { before } else { status }, "{action} {index}");
        }
    }
    let bob = Owner { id: "local:bob".to_owned(), name: "bob".to_owned() };
    assert_eq!(stage.workspaces.get(&bob, "of-bob").await.unwrap().status, Status::Running, "nothing was done to bob");
    stage.workspaces.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_administration_with_and_without_scripts() {
    let stage = stage().await;
    let mut person = Browser::start().await;
    let bob = Owner { id: "local:bob".to_owned(), name: "bob".to_owned() };
    let of_bob = stage.workspaces.get(&bob, "of-bob").await.unwrap().id;
    let large_letters = json!({"viewport": {"width": 320, "height": 256}, "javaScriptEnabled": false});
    for (name, visitor) in [("every", Value::Null), ("zoomed", large_letters)] {
        person.visitor(visitor).await;
        person.open(&format!("{}{PATH}", stage.origin)).await;
        person.fill("User name", "root").await;
        person.fill("Password", PASSWORD).await;
        person.press("Sign in").await;
        person.find("What you do here is recorded with your name").await;
        check(&mut person, &format!("{name}-administration")).await;
        person.fill("Id of a user", "local:bob").await;
        person.press("Show").await;
        person.find("See your workspaces").await;
        check(&mut person, &format!("{name}-administration-user")).await;
        person.open(&format!("{}{PATH}/end?user=local:bob", stage.origin)).await;
        person.find("Every browser session and every agent of this user ends").await;
        check(&mut person, &format!("{name}-administration-end")).await;
        person.open(&format!("{}{WORKSPACES}", stage.origin)).await;
        person.find("of-bob").await;
        check(&mut person, &format!("{name}-administration-workspaces")).await;
        person.open(&format!("{}{WORKSPACES}/delete?owner=local:bob&workspace={of_bob}", stage.origin)).await;
        person.find("of-bob").await;
        check(&mut person, &format!("{name}-administration-delete")).await;
    }
    person.open(&format!("{}{PATH}/end?user=local:bob", stage.origin)).await;
    person.press("End all access of bob").await;
    person.find("No agent has access").await;
    stage.workspaces.shutdown().await;
}
