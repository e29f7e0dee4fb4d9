//! Workspaces: creation, listing, owners, stop, restart and deletion.

use crate::local_workspaces::fixture::{
    Fixture, LONG, NOW, blank, command, eventually_async, fixture, open, owner, runs,
};
use portcullis_agent::{
    AgentError,
    protocol::{Command, FailureKind, JournalRequest},
};
use portcullis_workspaces::{
    CreateWorkspace, Error, Purpose, Status, Workspace, WorkspaceFilter, WorkspaceLogs, Workspaces as _,
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_lives_and_dies() {
    let fixture = fixture().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    assert_eq!(backend.templates(&ann).await.unwrap()[0].name, "blank");

    let made = backend.create(&ann, blank("web")).await.unwrap();
    assert_eq!((made.name.as_str(), made.status), ("web", Status::Running));
    assert_eq!(made.created_at, NOW);
    assert_eq!(backend.get(&ann, "web").await.unwrap(), made);
    assert_eq!(backend.get(&ann, &made.id).await.unwrap(), made);

    let result = fixture.run(command("pwd; echo $HOME; echo kept > file; echo oops >&2; exit 3")).await;
    assert_eq!(result.exit_code, Some(3));
    assert_eq!(result.stdout, format!("{0}\n{0}\n", made.home));
    assert_eq!(result.stderr, "oops\n");
    assert!(!result.truncated && !result.timed_out && result.process_id.is_none() && result.note.is_none());

    assert_eq!(backend.stop(&ann, "web").await.unwrap().status, Status::Stopped);
    assert_eq!(backend.stop(&ann, "web").await.unwrap().status, Status::Stopped);
    let refused = backend.agent(&ann, "web", Purpose::Work).await.err().unwrap();
    assert!(refused.to_string().contains("call start_workspace"), "{refused}");

    assert_eq!(backend.start(&ann, "web", None).await.unwrap().status, Status::Running);
    assert_eq!(fixture.run(command("cat file")).await.stdout, "kept\n");

    let deleted = backend.delete(&ann, &made.id).await.unwrap();
    assert_eq!(deleted.id, made.id);
    assert!(!Path::new(&made.home).exists());
    assert_eq!(std::fs::read_dir(fixture.state.path().join("workspaces")).unwrap().count(), 0);
    let gone = backend.get(&ann, "web").await.unwrap_err();
    assert!(gone.to_string().contains("call create_workspace"), "{gone}");
    backend.create(&ann, blank("web")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_say_what_to_do() {
    let fixture = Fixture::with_web().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    let said = |result: Result<_, Error>| result.map(|_: Workspace| ()).unwrap_err().to_string();
    for (said, expected) in [
        (said(backend.create(&ann, blank("web")).await), "you already have a workspace \"web\""),
        (said(backend.create(&ann, blank("My App")).await), "such as \"my-app\""),
        (
            said(backend.create(&ann, CreateWorkspace { template: "node".to_owned(), ..blank("x") }).await),
            "the templates are: \"blank\"",
        ),
        (
            said(
                backend
                    .create(
                        &ann,
                        CreateWorkspace {
                            parameters: BTreeMap::from([("size".to_owned(), "l".to_owned())]),
                            ..blank("x")
                        },
                    )
                    .await,
            ),
            "omit parameters",
        ),
        (said(backend.get(&ann, "wep").await), "there is no workspace \"wep\"; your workspaces are: \"web\""),
    ] {
        assert!(said.contains(expected), "{said}");
    }
    for (request, expected) in [
        (command("  "), "command is empty"),
        (
            Command { cwd: Some("nowhere".to_owned()), ..command("true") },
            "the working directory \"nowhere\" does not exist",
        ),
        (
            Command { env: BTreeMap::from([("A=B".to_owned(), String::new())]), ..command("true") },
            "env: names must not be empty or contain =",
        ),
        (command("echo \0"), "NUL"),
    ] {
        let said = fixture.try_run(request, None).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    let filter = |limit| WorkspaceFilter { limit: Some(limit), ..WorkspaceFilter::default() };
    assert!(backend.list(&ann, filter(0)).await.is_err());
    let cursor = WorkspaceFilter { cursor: Some("%%".to_owned()), ..WorkspaceFilter::default() };
    assert!(backend.list(&ann, cursor).await.unwrap_err().to_string().contains("next_cursor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let fixture = fixture().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    for name in ["web-2", "api", "web-1", "web-3"] {
        backend.create(&ann, blank(name)).await.unwrap();
    }
    backend.stop(&ann, "web-2").await.unwrap();
    let names = async |filter: WorkspaceFilter| {
        let page = backend.list(&ann, filter).await.unwrap();
        (page.workspaces.into_iter().map(|workspace| workspace.name).collect::<Vec<_>>(), page.next_cursor)
    };
    let all = WorkspaceFilter::default;
    assert_eq!(names(all()).await, (vec!["api".into(), "web-1".into(), "web-2".into(), "web-3".into()], None));
    let query = Some("web".to_owned());
    assert_eq!(names(WorkspaceFilter { query: query.clone(), ..all() }).await.0, ["web-1", "web-2", "web-3"]);
    assert_eq!(names(WorkspaceFilter { status: Some(Status::Stopped), ..all() }).await.0, ["web-2"]);
    assert!(names(WorkspaceFilter { template: Some("other".to_owned()), ..all() }).await.0.is_empty());

    let first = names(WorkspaceFilter { query: query.clone(), limit: Some(2), ..all() }).await;
    assert_eq!(first.0, ["web-1", "web-2"]);
    let second = names(WorkspaceFilter { query, limit: Some(2), cursor: first.1, ..all() }).await;
    assert_eq!(second, (vec!["web-3".to_owned()], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_survives_a_stop_and_a_restart_of_the_server_but_not_the_workspace() {
    let fixture = Fixture::with_web().await;
    let ann = owner("ann");
    fixture.run(command("echo first")).await;
    fixture.backend.stop(&ann, "web").await.unwrap();
    fixture.backend.start(&ann, "web", None).await.unwrap();
    fixture.run(command("echo second")).await;
    fixture.backend.shutdown().await;
    let again = open(fixture.state.path()).await;
    let commands = async || -> Vec<String> {
        let agent = again.agent(&ann, "web", Purpose::Journal).await.unwrap();
        let page = agent.journal(&JournalRequest::default()).await.unwrap();
        page.entries.into_iter().filter_map(|entry| entry.operation.command).collect()
    };
    assert_eq!(commands().await, ["echo second", "echo first"]);
    again.delete(&ann, "web").await.unwrap();
    again.create(&ann, blank("web")).await.unwrap();
    assert_eq!(commands().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_do_not_meet() {
    let fixture = Fixture::with_web().await;
    let (backend, ann, bob) = (&fixture.backend, owner("ann"), owner("bob"));
    let id = backend.get(&ann, "web").await.unwrap().id;
    backend.create(&bob, blank("own")).await.unwrap();
    for wanted in ["web", &id] {
        let other = backend.get(&bob, wanted).await.unwrap_err().to_string();
        let nothing = backend.get(&bob, "nothing").await.unwrap_err().to_string();
        assert_eq!(other.replace(wanted, "nothing"), nothing);
        assert!(backend.start(&bob, wanted, None).await.is_err());
        assert!(backend.stop(&bob, wanted).await.is_err());
        assert!(backend.delete(&bob, wanted).await.is_err());
        for purpose in [Purpose::Look, Purpose::Work, Purpose::Journal] {
            let other = backend.agent(&bob, wanted, purpose).await.err().unwrap().to_string();
            assert_eq!(other.replace(wanted, "nothing"), nothing);
        }
        assert_eq!(backend.logs(&bob, wanted, 1).await.unwrap_err().to_string().replace(wanted, "nothing"), nothing);
    }
    assert_eq!(backend.list(&bob, WorkspaceFilter::default()).await.unwrap().workspaces.len(), 1);
    // A name is taken for its owner only.
    let bobs = backend.create(&bob, blank("web")).await.unwrap();
    assert_ne!(bobs.id, id);
    assert_eq!(backend.get(&ann, "web").await.unwrap().status, Status::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_interrupts_a_command() {
    let fixture = Arc::new(Fixture::with_web().await);
    let caller = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move { fixture.try_run(command("echo $$ > pids; echo done >> pids; sleep 300"), None).await }
    });
    let pid = fixture.pids("pids").await[0];
    fixture.backend.stop(&owner("ann"), "web").await.unwrap();
    assert!(!runs(pid));
    let error = timeout(LONG, caller).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&error, AgentError::Failed(failure) if failure.kind == FailureKind::Interrupted), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_nobody_waits_for_is_still_one() {
    let fixture = Fixture::with_web().await;
    let ann = owner("ann");
    let line = "trap '' TERM; echo $$ > pids; echo done >> pids; while :; do sleep 1; done";
    fixture.run(Command { background: true, timeout: None, ..command(line) }).await;
    let pid = fixture.pids("pids").await[0];
    // Shorter than the grace that the process uses up.
    assert!(timeout(Duration::from_millis(200), fixture.backend.stop(&ann, "web")).await.is_err());
    assert_eq!(fixture.backend.get(&ann, "web").await.unwrap().status, Status::Stopped);
    fixture.backend.start(&ann, "web", None).await.unwrap();
    assert_eq!(fixture.run(command("echo again")).await.stdout, "again\n");
    assert!(!runs(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_survive_a_restart_and_processes_do_not() {
    let state = tempfile::tempdir().unwrap();
    let fixture = Fixture { backend: open(state.path()).await, state };
    let ann = owner("ann");
    let web = fixture.backend.create(&ann, blank("web")).await.unwrap();
    fixture.backend.create(&ann, blank("old")).await.unwrap();
    let old = fixture.backend.stop(&ann, "old").await.unwrap();
    let line = "echo kept > file; echo $$ > pids; echo done >> pids; sleep 300";
    fixture.run(Command { background: true, timeout: None, ..command(line) }).await;
    let pid = fixture.pids("pids").await[0];
    fixture.backend.shutdown().await;
    assert!(!runs(pid));

    // Half work of a crash, and a damaged record, are no hindrance.
    let folder = fixture.state.path().join("workspaces");
    std::fs::create_dir_all(folder.join(".new-ws-1/home")).unwrap();
    std::fs::create_dir_all(folder.join("ws-damaged")).unwrap();
    std::fs::write(folder.join("ws-damaged/workspace.json"), "{").unwrap();

    let fixture = Fixture { backend: open(fixture.state.path()).await, state: fixture.state };
    let web = Workspace { last_activity: Some(NOW), ..web };
    assert_eq!(fixture.backend.list(&ann, WorkspaceFilter::default()).await.unwrap().workspaces, [old, web]);
    assert_eq!(fixture.run(command("cat file")).await.stdout, "kept\n");
    assert!(!folder.join(".new-ws-1").exists());
    assert!(folder.join("ws-damaged").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_without_write_permission_can_be_deleted() {
    let fixture = Fixture::with_web().await;
    let result = fixture.run(command("mkdir -p a/b && touch a/b/c && chmod 555 a/b a")).await;
    assert_eq!(result.exit_code, Some(0));
    let home = fixture.home().await;
    fixture.backend.delete(&owner("ann"), "web").await.unwrap();
    assert!(!home.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_given_once() {
    let fixture = fixture().await;
    let ann = owner("ann");
    let made = futures::future::join_all((0..20).map(|_| fixture.backend.create(&ann, blank("web")))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    assert_eq!(std::fs::read_dir(fixture.state.path().join("workspaces")).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_tells_what_happened_and_no_command() {
    let fixture = Fixture::with_web().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    fixture.run(command("echo hunter2; exit 3")).await;
    eventually_async(async || backend.logs(&ann, "web", 100).await.unwrap().lines.len() == 3).await;
    backend.stop(&ann, "web").await.unwrap();
    let logs = backend.logs(&ann, "web", 100).await.unwrap();
    let told: Vec<&str> = logs.lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!((told[0], told[1], told[3]), ("made", "started", "stopped"));
    assert!(told[2].starts_with("process ") && told[2].ends_with(" ended with exit code 3"), "{told:?}");
    assert!(logs.lines.iter().all(|line| line.starts_with(&format!("{NOW} "))), "{logs:?}");
    assert_eq!(
        backend.logs(&ann, "web", 1).await.unwrap(),
        WorkspaceLogs { lines: vec![logs.lines[3].clone()], truncated: true }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_give_commands_their_environment() {
    let fixture = fixture().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    let template = |value: &str| {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "node"},
            "spec": {
                "parameters": [{"name": "mode", "type": "enum", "options": ["test", "live"], "default": "test"}],
                "pod": {"image": "node:24", "env": [{"name": "MODE", "value": value}, {"name": "PAGER", "value": "more"}]},
            },
        }))
        .unwrap()
    };
    backend.set_templates(&[template("$(parameters.mode)")], &[]);
    let names: Vec<String> = backend.templates(&ann).await.unwrap().into_iter().map(|template| template.name).collect();
    assert_eq!(names, ["blank", "node"]);

    let parameters = BTreeMap::from([("mode".to_owned(), "live".to_owned())]);
    let request = CreateWorkspace { template: "node".to_owned(), parameters: parameters.clone(), ..blank("web") };
    let wrong = BTreeMap::from([("mode".to_owned(), "prod".to_owned())]);
    let refused = backend.create(&ann, CreateWorkspace { parameters: wrong, ..request.clone() }).await.unwrap_err();
    assert!(refused.to_string().contains("it must be one of: test, live"), "{refused}");
    let made = backend.create(&ann, request).await.unwrap();
    assert_eq!((made.template.as_str(), &made.parameters, made.outdated), ("node", &parameters, false));
    assert_eq!(fixture.run(command("echo $MODE $PAGER")).await.stdout, "live more\n");

    // The template moves on; what runs does not, until it starts anew.
    backend.set_templates(&[template("very $(parameters.mode)")], &[]);
    assert!(backend.get(&ann, "web").await.unwrap().outdated);
    assert_eq!(fixture.run(command("echo $MODE")).await.stdout, "live\n");
    assert!(!backend.restart(&ann, "web", None).await.unwrap().outdated);
    assert_eq!(fixture.run(command("echo $MODE")).await.stdout, "very live\n");

    // Without its template it runs on, but does not start.
    backend.set_templates(&[], &[]);
    assert_eq!(fixture.run(command("echo $MODE")).await.stdout, "very live\n");
    backend.stop(&ann, "web").await.unwrap();
    let refused = backend.start(&ann, "web", None).await.unwrap_err();
    assert!(refused.to_string().contains("there is no template \"node\""), "{refused}");
    assert_eq!(backend.get(&ann, "web").await.unwrap().status, Status::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_work_is_activity() {
    let fixture = Fixture::with_web().await;
    let (backend, ann) = (&fixture.backend, owner("ann"));
    let last = async || backend.get(&ann, "web").await.unwrap().last_activity;
    backend.agent(&ann, "web", Purpose::Look).await.unwrap().usage().await.unwrap();
    assert_eq!(last().await, None);
    fixture.run(command("true")).await;
    assert_eq!(last().await, Some(NOW));
}
