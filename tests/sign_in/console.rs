//! The console as a user meets it: own workspaces, their pages, and the end of all access.

use crate::{
    browser::Browser,
    pages::{CALLBACK, check, redeemed, request},
    stage::{Manifests, PASSWORD, PUBLIC, Stage, USER},
};
use portcullis_agent::protocol::{Actor, Command, WriteFile};
use portcullis_workspaces::{CreateWorkspace, Owner, Purpose, Status, Workspaces as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn owner(id: &str) -> Owner {
    Owner { id: id.to_owned(), name: id.rsplit(':').next().unwrap().to_owned() }
}

async fn create(stage: &Stage, id: &str, name: &str) {
    let (template, parameters) = ("blank".to_owned(), BTreeMap::new());
    let request = CreateWorkspace { template, name: name.to_owned(), parameters, wait: None };
    stage.workspaces.create(&owner(id), request).await.unwrap();
}

/// An agent's work in the workspace `web`.
async fn work(stage: &Stage, user: &str) {
    let actor = Actor { client_id: "agent-of-a-test".to_owned(), user: user.to_owned(), grant: None };
    let agent = stage.workspaces.agent(&owner(user), "web", Purpose::Work).await.unwrap().acting_as(&actor);
    let command = format!(": make --keep-going {}; exit 3", "a-long-word-that-must-wrap".repeat(5));
    agent.run("one", &Command { command, ..Command::default() }, None).await.unwrap();
    agent.write_file(&WriteFile { path: "src/main.rs".to_owned(), ..WriteFile::default() }).await.unwrap();
}

/// The status of a call with an access token.
async fn call(stage: &Stage, token: &str) -> u16 {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let request = crate::http().post(&stage.url).bearer_auth(token).json(&body);
    request.header("Accept", "application/json, text/event-stream").send().await.unwrap().status().as_u16()
}

/// Goes through the console, from the sign-in to the end of all access.
async fn tour(person: &mut Browser, stage: &Stage, name: &str) {
    let user = format!("local:{USER}");
    for workspace in ["web", "a-workspace-with-a-name-of-40-characters"] {
        create(stage, &user, workspace).await;
    }
    person.open(&format!("{}/console/workspaces", stage.origin)).await;
    person.find("Sign in").await;
    person.fill("User name", USER).await;
    person.fill("Password", PASSWORD).await;
    person.press("Sign in").await;
    let page = person.arrive("/console/workspaces$").await;
    assert!(page.text.contains("web") && !page.text.contains("of-mallory"), "{}", page.text);
    check(person, &format!("{name}-workspaces")).await;

    person.follow("web").await;
    let page = person.find("Resource usage").await;
    assert!(page.text.contains("made") && page.text.contains("Running"), "{}", page.text);
    check(person, &format!("{name}-workspace")).await;
    work(stage, &user).await;
    person.follow("Activity: what agents ran and changed").await;
    let page = person.find("the newest first").await;
    for words in ["Wrote a file", "src/main.rs", "make --keep-going", "exit code 3", "agent-of-a-test"] {
        assert!(page.text.contains(words), "{words:?} in {}", page.text);
    }
    check(person, &format!("{name}-workspace-activity")).await;
    person.follow("web").await;
    person.find("Resource usage").await;
    person.press("Stop web").await;
    person.find("Stopped").await;
    check(person, &format!("{name}-workspace-stopped")).await;
    assert_eq!(stage.workspaces.get(&owner(&user), "web").await.unwrap().status, Status::Stopped);
    person.press("Start web").await;
    person.find("Running").await;
    person.follow("Delete web").await;
    person.find("deletes all its files, for good").await;
    check(person, &format!("{name}-workspace-delete")).await;
    person.press("Delete web and its files").await;
    let page = person.arrive("/console/workspaces$").await;
    assert!(page.text.contains("a-workspace-with") && !page.text.contains("Stop web"), "{}", page.text);
    assert!(stage.workspaces.get(&owner(&user), "web").await.is_err());
    let other = stage.workspaces.get(&owner("local:mallory"), "of-mallory").await.unwrap();
    assert_eq!(person.open(&format!("{}/console/workspaces/{}", stage.origin, other.id)).await.status, Some(404));
    person.find("There is no such workspace").await;
    check(person, &format!("{name}-workspace-unknown")).await;
    person.follow("Your workspaces").await;

    person.open(&request(stage, PUBLIC, CALLBACK)).await;
    let token = redeemed(person, stage).await;
    assert_eq!(call(stage, &token).await, 200);
    person.open(&format!("{}/console/", stage.origin)).await;
    person.follow("Workspaces").await;
    person.arrive("/console/workspaces$").await;
    person.follow("Agents").await;
    person.find("Claude Code").await;
    check(person, &format!("{name}-agents-everywhere")).await;
    person.press("End all access and all sessions").await;
    person.find("You are signed out everywhere").await;
    check(person, &format!("{name}-signed-out-everywhere")).await;
    assert_eq!(call(stage, &token).await, 401);
    let page = person.open(&format!("{}/console/workspaces", stage.origin)).await;
    assert!(page.url.contains("/login?"), "{}", page.url);
    stage.workspaces.delete(&owner(&user), "a-workspace-with-a-name-of-40-characters").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_works_in_the_console_with_and_without_scripts() {
    let stage = Manifests::new().start().await;
    create(&stage, "local:mallory", "of-mallory").await;
    let mut person = Browser::start().await;
    let large_letters = json!({"viewport": {"width": 320, "height": 256}, "javaScriptEnabled": false});
    for (name, visitor) in [("every", Value::Null), ("zoomed", large_letters)] {
        person.visitor(visitor).await;
        tour(&mut person, &stage, name).await;
        // A sign-in in the same second would count as one from before.
        stage.pass(1);
    }
}
