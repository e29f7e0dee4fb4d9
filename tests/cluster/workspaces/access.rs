//! Whose workspace is whose, and how RBAC shares one.

use super::stage::{Server, Stage, new, owner};
use crate::operator::stage::eventually;
use portcullis_core::workspace::AuthorizationMode;
use portcullis_workspaces::{Error, Owner, Purpose, Status, WorkspaceFilter, Workspaces as _};
use tokio::time::Instant;

/// What one user is told by every operation on a workspace; `None`: it is done.
async fn told(server: &Server, owner: &Owner, workspace: &str) -> Vec<(&'static str, Option<String>)> {
    let it = &server.workspaces;
    vec![
        ("get", it.get(owner, workspace).await.err()),
        ("logs", it.logs(owner, workspace, 10).await.err()),
        ("usage", it.agent(owner, workspace, Purpose::Look).await.err()),
        ("work", it.agent(owner, workspace, Purpose::Work).await.err()),
        ("activity", it.agent(owner, workspace, Purpose::Journal).await.err()),
        ("start", it.start(owner, workspace, None).await.err()),
        ("stop", it.stop(owner, workspace).await.err()),
        ("restart", it.restart(owner, workspace, None).await.err()),
        ("delete", it.delete(owner, workspace).await.err()),
    ]
    .into_iter()
    .map(|(operation, error)| (operation, error.map(|error| error.to_string())))
    .collect()
}

async fn names(server: &Server, owner: &Owner) -> Vec<String> {
    let page = server.workspaces.list(owner, WorkspaceFilter::default()).await.unwrap();
    page.workspaces.into_iter().map(|workspace| workspace.name).collect()
}

async fn running(stage: &Stage, server: &Server, owner: &Owner, name: &str) -> String {
    let made = server.workspaces.create(owner, new(name)).await.unwrap();
    stage.found(&made.id, "Running", None).await;
    eventually("it runs", async || {
        (server.workspaces.get(owner, name).await.unwrap().status == Status::Running).then_some(())
    })
    .await;
    made.id
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_answers_as_one_that_does_not_exist() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    let (ann, bob) = (owner("ann"), owner("bob"));
    let id = running(&stage, &server, &ann, "secret").await;
    running(&stage, &server, &bob, "mine").await;
    for mode in [AuthorizationMode::Owner, AuthorizationMode::Kubernetes] {
        server.apply(mode, 10);
        for wanted in ["secret", &id] {
            let of_ann = told(&server, &bob, wanted).await;
            let of_nobody = told(&server, &bob, "nothing").await;
            for ((operation, refused), (_, unknown)) in of_ann.into_iter().zip(of_nobody) {
                let refused = refused.unwrap_or_else(|| panic!("bob may {operation} what is ann's"));
                assert_eq!(refused.replace(wanted, "nothing"), unknown.unwrap(), "{operation}");
                assert!(refused.contains("your workspaces are: \"mine\""), "{refused}");
            }
        }
        assert_eq!(names(&server, &bob).await, ["mine"]);
        assert_eq!(server.workspaces.get(&ann, "secret").await.unwrap().status, Status::Running);
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_binding_shares_and_its_end_unshares() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    server.apply(AuthorizationMode::Kubernetes, 10);
    let (ann, bob) = (owner("ann"), owner("bob"));
    let id = running(&stage, &server, &ann, "shared").await;
    running(&stage, &server, &ann, "other").await;
    running(&stage, &server, &bob, "mine").await;
    assert!(matches!(server.workspaces.get(&bob, "shared").await, Err(Error::UnknownWorkspace { .. })));

    let named = format!("--resource-name={id}");
    stage.kubectl(&["create", "role", "see", "--verb=get", "--resource=workspaces.portcullis.dev", &named]);
    stage.kubectl(&["create", "rolebinding", "see", "--role=see", "--user=portcullis:agents:local:bob"]);
    let shared = eventually("bob sees it", async || server.workspaces.get(&bob, "shared").await.ok()).await;
    assert_eq!(shared.owner_id, ann.id, "the pages tell by it whose it is");
    // It is in the list, since that asks for each by itself.
    eventually("it is listed", async || (names(&server, &bob).await == ["mine", "shared"]).then_some(())).await;
    let refusals = told(&server, &bob, "shared").await;
    for (operation, refused) in refusals {
        match operation {
            "get" | "usage" => assert_eq!(refused, None, "{operation}"),
            "logs" => assert!(refused.unwrap().contains("there is no pod")),
            _ => {
                let refused = refused.unwrap_or_else(|| panic!("bob may {operation}"));
                let verb = match operation {
                    "work" => "work in",
                    "activity" => "see the activity in",
                    other => other,
                };
                assert!(refused.contains(&format!("belongs to ann; you are not permitted to {verb} it")), "{refused}");
            }
        }
    }

    stage.kubectl(&["create", "role", "exec", "--verb=create", "--resource=workspaces.portcullis.dev/exec", &named]);
    stage.kubectl(&["create", "rolebinding", "exec", "--role=exec", "--user=portcullis:agents:local:bob"]);
    eventually("bob may work", async || server.workspaces.agent(&bob, &id, Purpose::Work).await.ok()).await;

    // Command lines may have secrets of the owner.
    let refused = server.workspaces.agent(&bob, &id, Purpose::Journal).await.err().unwrap();
    assert!(matches!(refused, Error::NotPermitted { .. }), "{refused}");

    stage.kubectl(&["delete", "rolebinding", "see", "exec"]);
    let begun = Instant::now();
    eventually("bob sees it no more", async || server.workspaces.get(&bob, "shared").await.err()).await;
    // An answer counts for ten seconds; how long the API server takes besides is the machine's.
    eprintln!("unshared after {:?}", begun.elapsed());
    assert!(server.workspaces.agent(&bob, &id, Purpose::Work).await.is_err());
    eventually("nor in the list", async || (names(&server, &bob).await == ["mine"]).then_some(())).await;

    // Whoever may list all sees all, with one question.
    stage.kubectl(&["create", "role", "all", "--verb=get,list", "--resource=workspaces.portcullis.dev"]);
    stage.kubectl(&["create", "rolebinding", "all", "--role=all", "--user=portcullis:agents:local:bob"]);
    eventually("bob sees all", async || (names(&server, &bob).await == ["mine", "other", "shared"]).then_some(()))
        .await;
    // In mode Owner nobody is asked.
    server.apply(AuthorizationMode::Owner, 10);
    assert_eq!(names(&server, &bob).await, ["mine"]);
    assert!(matches!(server.workspaces.get(&bob, "shared").await, Err(Error::UnknownWorkspace { .. })));
    server.end().await;
}
