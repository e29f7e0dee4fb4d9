//! The pages of workspaces: a user sees and changes own workspaces only, and only as the endpoint's tools allow.

use crate::pages::stage::{PASSWORD, Stage, log, owner};
use portcullis_workspaces::Status;

const LIST: &str = "/console/workspaces";

/// The status of a workspace of a local user.
async fn status(stage: &Stage, user: &str, name: &str) -> Status {
    stage.workspaces().get(&owner(user), name).await.unwrap().status
}

#[tokio::test]
async fn a_user_sees_and_changes_own_workspaces() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    let page = ada.get(LIST).await;
    assert!(page.text().contains("You have no workspaces"), "{}", page.text());
    let web = stage.workspace("ada", "web").await;
    stage.workspace("bob", "of-bob").await;

    let page = ada.get(LIST).await;
    let text = page.text();
    for words in ["web Running", "Template blank", "Last used not yet", "just now", "Stop web", "Restart web"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert!(!text.contains("of-bob") && !text.contains("Start web"), "{text}");

    let path = format!("{LIST}/{}", web.id);
    let page = ada.get(&path).await;
    let text = page.text();
    for words in ["CPU", "Memory", "Disk", "Home folder", "Log", "made"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert!(!page.headers.contains_key("refresh"), "it runs, so there is nothing to wait for");

    let stop = format!("{path}/stop");
    let stopped = ada.submit(&stop, &page.form(&stop).0).await;
    assert_eq!(stopped.path(), path);
    assert_eq!(status(&stage, "ada", "web").await, Status::Stopped);
    let page = ada.get(&path).await;
    let text = page.text();
    assert!(text.contains("web Stopped") && !text.contains("Resource usage"), "{text}");
    let start = format!("{path}/start");
    assert_eq!(ada.submit(&start, &page.form(&start).0).await.path(), path);
    assert_eq!(status(&stage, "ada", "web").await, Status::Running);
    let restart = format!("{path}/restart");
    let page = ada.get(LIST).await;
    assert_eq!(ada.submit(&restart, &page.form(&restart).0).await.path(), path);
    assert_eq!(status(&stage, "ada", "web").await, Status::Running);

    let delete = format!("{path}/delete");
    assert!(!page.html.contains(&format!("action=\"{delete}\"")), "a deletion is asked about first");
    let page = ada.get(&delete).await;
    assert!(page.text().contains("deletes all its files, for good"), "{}", page.text());
    assert_eq!(status(&stage, "ada", "web").await, Status::Running);
    assert_eq!(ada.submit(&delete, &page.form(&delete).0).await.path(), LIST);
    assert!(stage.workspaces().get(&owner("ada"), "web").await.is_err());
    assert_eq!(ada.get(&path).await.status, 404);

    let changed = log().audit("workspace.changed");
    for tool in ["stop_workspace", "start_workspace", "restart_workspace", "delete_workspace"] {
        let matches = |event: &&serde_json::Value| event["tool"] == tool && event["workspace"] == *web.id;
        let event = changed.iter().find(matches).unwrap_or_else(|| panic!("{tool}: {changed:?}"));
        assert_eq!((&event["user"], &event["outcome"]), (&"local:ada".into(), &"ok".into()));
    }
    stage.stop().await;
}

#[tokio::test]
async fn workspaces_of_other_users_are_as_those_that_do_not_exist() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    let own = stage.workspace("ada", "own").await;
    let other = stage.workspace("bob", "of-bob").await;
    let page = ada.get(LIST).await;
    let missing = ada.get(&format!("{LIST}/missing")).await;
    assert_eq!(missing.status, 404);
    for wanted in [&other.id, &other.name] {
        for path in [format!("{LIST}/{wanted}"), format!("{LIST}/{wanted}/delete")] {
            let refused = ada.get(&path).await;
            assert_eq!(refused.status, 404, "{path}");
            assert!(refused.text().contains("There is no such workspace"), "{}", refused.text());
        }
        for action in ["start", "stop", "restart", "delete"] {
            let from = format!("{LIST}/{}/{action}", own.id);
            let form = match action {
                "delete" => ada.get(&from).await.form(&from),
                "start" => continue,
                _ => page.form(&from),
            };
            assert_eq!(ada.submit(&format!("{LIST}/{wanted}/{action}"), &form.0).await.status, 404, "{action}");
        }
    }
    assert_eq!(status(&stage, "bob", "of-bob").await, Status::Running);
    let refused = log().audit("workspace.changed");
    let matches = |event: &serde_json::Value| event["workspace"] == *other.id && event["outcome"] == "not_found";
    assert!(refused.iter().any(matches), "{refused:?}");
    stage.stop().await;
}

#[tokio::test]
async fn forms_of_workspaces_count_for_their_page_only() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let (mut ada, mut bob) = (stage.signed_in("ada").await, stage.signed_in("bob").await);
    let web = stage.workspace("ada", "web").await;
    stage.workspace("bob", "web").await;
    let (stop, delete) = (format!("{LIST}/{}/stop", web.id), format!("{LIST}/{}/delete", web.id));
    let stop_form = ada.get(LIST).await.form(&stop);
    let delete_form = ada.get(&delete).await.form(&delete);
    for headers in [
        &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")][..],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(ada.submit_from(&stop, &stop_form.0, headers).await.status, 403, "{headers:?}");
        assert_eq!(ada.submit_from(&delete, &delete_form.0, headers).await.status, 403, "{headers:?}");
    }
    assert_eq!(ada.submit(&delete, &stop_form.0).await.status, 403, "the token of a form that does less");
    assert_eq!(ada.submit(&stop, &stop_form.clone().without("form").0).await.status, 403);
    assert_eq!(bob.submit(&format!("{LIST}/web/stop"), &stop_form.0).await.status, 403, "another browser's token");
    assert_eq!(stage.browser().submit(&stop, &stop_form.0).await.status, 403, "without a session");
    assert_eq!(ada.get(&stop).await.status, 405, "a link");
    for user in ["ada", "bob"] {
        assert_eq!(status(&stage, user, "web").await, Status::Running);
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_user_who_is_not_signed_in_comes_back_to_the_page() {
    let stage = Stage::with_workspaces(|_| {}).await;
    stage.workspace("ada", "web").await;
    for path in [LIST, "/console/workspaces/web"] {
        let mut browser = stage.browser();
        let page = browser.get(path).await;
        let sign_in = page.path().to_owned();
        assert!(sign_in.starts_with("/login?continue="), "{sign_in}");
        assert_eq!(browser.sign_in(&sign_in, "ada", PASSWORD).await.path(), path);
        assert_eq!(browser.get(path).await.status, 200);
    }
    stage.stop().await;
}

#[tokio::test]
async fn pages_do_only_what_the_tools_of_the_endpoint_do() {
    let deny = |names: &'static [&'static str]| {
        Stage::with_workspaces(|config| config.tools.deny = names.iter().map(ToString::to_string).collect())
    };
    let stage = deny(&["*_workspace", "workspace_usage"]).await;
    let mut ada = stage.signed_in("ada").await;
    let web = stage.workspace("ada", "web").await;
    let page = ada.get(LIST).await;
    assert!(page.text().contains("web Running"), "{}", page.text());
    for words in ["Stop web", "Restart web", "Delete web", "href=\"/console/workspaces/ws-"] {
        assert!(!page.html.contains(words) && !page.text().contains(words), "{words}: {}", page.html);
    }
    let path = format!("{LIST}/{}", web.id);
    for path in [path.clone(), format!("{path}/delete")] {
        let refused = ada.get(&path).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("This is switched off here"), "{}", refused.text());
    }
    stage.stop().await;

    // A form that was shown before the rule.
    let mut stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    let web = stage.workspace("ada", "web").await;
    let stop = format!("{LIST}/{}/stop", web.id);
    let form = ada.get(LIST).await.form(&stop);
    stage.config.tools.deny = vec!["stop_workspace".to_owned(), "workspace_logs".to_owned()];
    stage.files.config = serde_json::to_vec(&stage.config).unwrap();
    stage.volume.replace(&stage.files);
    while ada.get(LIST).await.text().contains("Stop web") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ada.submit(&stop, &form.0).await.status, 403);
    assert_eq!(status(&stage, "ada", "web").await, Status::Running);
    let text = ada.get(&format!("{LIST}/{}", web.id)).await.text();
    assert!(text.contains("Resource usage") && !text.contains("Log"), "{text}");
    stage.stop().await;

    let stage = deny(&["list_workspaces"]).await;
    let mut ada = stage.signed_in("ada").await;
    assert_eq!(ada.get(LIST).await.status, 403);
    assert!(!ada.get("/agents").await.text().contains("Workspaces"), "no link leads to it");
    stage.stop().await;
}

#[tokio::test]
async fn long_lists_have_pages() {
    let stage = Stage::with_workspaces(|config| config.workspaces.max_per_user = 50).await;
    let mut ada = stage.signed_in("ada").await;
    for number in 0..25 {
        stage.workspace("ada", &format!("w{number:02}")).await;
    }
    let page = ada.get(LIST).await;
    let text = page.text();
    assert!(text.contains("w00 Running") && text.contains("w19 Running") && !text.contains("w20"), "{text}");
    assert!(text.contains("Next page") && !text.contains("First page"), "{text}");
    let next = page.html.split("href=\"").find_map(|rest| rest.strip_prefix("/console/workspaces?")).unwrap();
    let next = format!("{LIST}?{}", next.split_once('"').unwrap().0);
    let text = ada.get(&next).await.text();
    assert!(text.contains("w20 Running") && text.contains("w24 Running") && !text.contains("w19"), "{text}");
    assert!(text.contains("First page") && !text.contains("Next page"), "{text}");
    assert_eq!(ada.get(&format!("{LIST}?cursor=made-up")).await.status, 400);
    stage.stop().await;
}

#[tokio::test]
async fn a_page_does_not_wait_for_a_workspace() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    stage.workspace("ada", "evil-silent").await;
    let text = ada.get("/console/workspaces/evil-silent").await.text();
    assert!(text.contains("The workspace did not answer in time") && text.contains("made"), "{text}");

    stage.workspace("ada", "slow").await;
    let page = ada.get("/console/workspaces/slow").await;
    let text = page.text();
    assert!(text.contains("slow Starting") && text.contains("Its image is being pulled."), "{text}");
    assert!(!text.contains("get_workspace") && !text.contains("Resource usage"), "{text}");
    assert_eq!(page.header("refresh"), "4");
    stage.stop().await;
}
