//! Made, started, stopped, deleted.

use super::stage::{ENDPOINT, Server, Stage, new, owner};
use crate::{
    late::Late,
    operator::stage::eventually,
    support::{api_server::client_of, operator::PATIENCE, wire::Wire},
};
use futures::future::join_all;
use kube::api::{Patch, PatchParams, PostParams};
use portcullis_api::Workspace as Object;
use portcullis_core::workspace::AuthorizationMode;
use portcullis_workspaces::{CreateWorkspace, Error, Purpose, Status, WorkspaceFilter, Workspaces as _};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Longer than anything takes, however busy the machine is.
const LONG: Option<Duration> = Some(PATIENCE);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_found_next_door_before_the_watch_tells_of_it() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    let (next_door, _) = Server::still(&stage.client().await, &stage.namespace);
    let (ann, bob) = (owner("ann"), owner("bob"));
    let made = server.workspaces.create(&ann, new("web")).await.unwrap();
    let unknown = async |name: &str| {
        let refused = next_door.get(&bob, name).await.unwrap_err();
        assert!(matches!(refused, Error::UnknownWorkspace { .. }), "{refused}");
    };
    unknown("web").await;
    unknown(&made.id).await;
    assert_eq!(next_door.get(&ann, "web").await.unwrap().id, made.id);
    unknown("web").await;
    unknown(&made.id).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_early_makes_nobody_forget_what_was_made_meanwhile() {
    let stage = Stage::start().await;
    let late = Late::new(stage.client().await, &stage.namespace, "/workspaces/");
    let server = Server::start(&late.client, &stage.namespace).await;
    let ann = owner("ann");
    let (early, made) =
        tokio::join!(server.workspaces.get(&ann, "web"), late.meanwhile(server.workspaces.create(&ann, new("web"))));
    assert!(matches!(early, Err(Error::UnknownWorkspace { .. })), "{early:?}");
    assert_eq!(server.workspaces.get(&ann, "web").await.unwrap(), made.unwrap());
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_seen_at_once_and_next_door_soon() {
    let stage = Stage::start().await;
    let (a, b) = (stage.server().await, stage.server().await);
    let ann = owner("ann");
    let parameters = BTreeMap::from([("memory".to_owned(), "2Gi".to_owned())]);
    let made = a.workspaces.create(&ann, CreateWorkspace { parameters, ..new("web") }).await.unwrap();
    assert_eq!((made.status, made.home.as_str(), made.owner.as_str()), (Status::Starting, "/home/node", "ann"));
    assert_eq!(a.workspaces.get(&ann, "web").await.unwrap(), made);
    assert_eq!(a.workspaces.get(&ann, &made.id).await.unwrap(), made);
    let object = stage.objects().get(&made.id).await.unwrap();
    assert_eq!((object.spec.endpoint_ref.name.as_str(), object.spec.running), (ENDPOINT, true));
    assert_eq!(object.spec.parameters["memory"], "2Gi");
    eventually("the other server sees it", async || b.workspaces.get(&ann, "web").await.ok()).await;

    stage.found(&made.id, "Running", None).await;
    let running = a.workspaces.start(&ann, "web", LONG).await.unwrap();
    assert_eq!((running.status, running.problem), (Status::Running, None));
    let stopping = a.workspaces.stop(&ann, "web").await.unwrap();
    assert_eq!(stopping.status, Status::Stopping);
    assert_eq!(a.workspaces.get(&ann, "web").await.unwrap().status, Status::Stopping);
    stage.found(&made.id, "Stopped", None).await;
    eventually("it is known to be stopped", async || {
        (a.workspaces.get(&ann, "web").await.unwrap().status == Status::Stopped).then_some(())
    })
    .await;
    let refused = a.workspaces.agent(&ann, "web", Purpose::Work).await.err().unwrap();
    assert!(matches!(refused, Error::Stopped { .. }), "{refused}");
    assert_eq!(a.workspaces.start(&ann, "web", None).await.unwrap().status, Status::Starting);
    let refused = a.workspaces.agent(&ann, "web", Purpose::Work).await.err().unwrap().to_string();
    assert!(refused.contains("is starting"), "{refused}");

    let deleted = a.workspaces.delete(&ann, "web").await.unwrap();
    assert_eq!((deleted.status, &deleted.id), (Status::Stopping, &made.id));
    assert!(matches!(a.workspaces.get(&ann, "web").await, Err(Error::UnknownWorkspace { .. })));
    eventually("it is gone next door", async || b.workspaces.get(&ann, "web").await.err()).await;
    // The very same name, and object, can be had again.
    let again = a.workspaces.create(&ann, new("web")).await.unwrap();
    assert_eq!(again.id, made.id);
    a.end().await;
    b.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_gets_the_name() {
    let stage = Stage::start().await;
    let (a, b) = (stage.server().await, stage.server().await);
    let ann = owner("ann");
    for round in 0..3 {
        let name = format!("web-{round}");
        let attempts = (0..8).map(|attempt| {
            let server = if attempt % 2 == 0 { &a } else { &b };
            server.workspaces.create(&ann, new(&name))
        });
        let (made, refused): (Vec<_>, Vec<_>) = join_all(attempts).await.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1, "{refused:?}");
        for refused in refused {
            assert!(matches!(refused, Err(Error::NameTaken { .. })), "{refused:?}");
        }
    }
    // Another user's name is another name.
    a.workspaces.create(&owner("bob"), new("web-0")).await.unwrap();
    a.end().await;
    b.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_more_than_allowed_nor_what_the_template_does_not_offer() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    server.apply(AuthorizationMode::Owner, 2);
    let ann = owner("ann");
    let create = async |name: &str, template: &str, parameters: &[(&str, &str)]| {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = CreateWorkspace { template: template.to_owned(), parameters, ..new(name) };
        server.workspaces.create(&ann, request).await.err().map(|error| error.to_string())
    };
    for (name, template, parameters, said) in [
        ("Web", "node", &[][..], "such as \"web\""),
        ("web", "nodes", &[], "the templates are: \"node\""),
        ("web", "node", &[("cpu", "1")], "its parameters are: \"memory\""),
        ("web", "node", &[("memory", "4Gi")], "1Gi, 2Gi"),
    ] {
        let refused = create(name, template, parameters).await.expect("it is refused");
        assert!(refused.contains(said), "{refused}");
    }
    assert_eq!(create("a", "node", &[]).await, None);
    // Those of kubectl count too.
    let by_hand: Object = serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "by-hand"},
        "spec": {"endpointRef": {"name": ENDPOINT}, "owner": {"id": "local:ann", "name": "ann"}, "displayName": "b",
            "templateRef": {"name": "node"}},
    }))
    .unwrap();
    stage.objects().create(&PostParams::default(), &by_hand).await.unwrap();
    eventually("it is known", async || server.workspaces.get(&ann, "b").await.ok()).await;
    assert!(create("b", "node", &[]).await.unwrap().contains("already have"));
    assert!(create("c", "node", &[]).await.unwrap().contains("the limit is 2"));
    server.apply(AuthorizationMode::Owner, 3);
    assert_eq!(create("c", "node", &[]).await, None);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_it_runs_or_will_not() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    let ann = owner("ann");
    for (name, phase, reason, expected) in [
        ("runs", "Running", None, Status::Running),
        ("fails", "Failed", Some(("CrashLooping", "it crashes: see workspace_logs")), Status::Failed),
        ("lacks", "Starting", Some(("ImagePullFailed", "there is no such image")), Status::Starting),
    ] {
        let created = server.workspaces.create(&ann, CreateWorkspace { wait: LONG, ..new(name) });
        let (created, ()) = tokio::join!(created, async {
            let made = eventually("it is there", async || server.workspaces.get(&ann, name).await.ok()).await;
            stage.found(&made.id, "Starting", Some(("Starting", "its image is being pulled"))).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.found(&made.id, phase, reason).await;
        });
        let created = created.unwrap();
        assert_eq!((created.status, created.problem.as_deref()), (expected, reason.map(|(_, message)| message)));
    }
    let started = Instant::now();
    let request = CreateWorkspace { wait: Some(Duration::from_millis(500)), ..new("slow") };
    let slow = server.workspaces.create(&ann, request).await.unwrap();
    assert_eq!(slow.status, Status::Starting);
    assert!(started.elapsed() >= Duration::from_millis(500));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_stop_and_a_start_that_the_operator_sees() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    let ann = owner("ann");
    let made = server.workspaces.create(&ann, new("web")).await.unwrap();
    stage.found(&made.id, "Running", None).await;
    eventually("it runs", async || {
        (server.workspaces.get(&ann, "web").await.unwrap().status == Status::Running).then_some(())
    })
    .await;
    let wanted = async || stage.objects().get(&made.id).await.unwrap().spec.running;
    let (restarted, ()) = tokio::join!(server.workspaces.restart(&ann, "web", LONG), async {
        eventually("it is to stop", async || (!wanted().await).then_some(())).await;
        stage.found(&made.id, "Stopping", Some(("Stopping", "it stops"))).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!wanted().await, "not before it has stopped");
        stage.found(&made.id, "Stopped", Some(("Stopped", "it is stopped"))).await;
        eventually("it is to start", async || wanted().await.then_some(())).await;
        stage.found(&made.id, "Running", None).await;
    });
    assert_eq!(restarted.unwrap().status, Status::Running);

    // Whoever asked may go away, and the server may end: it is started all the same.
    let stopping = server.workspaces.restart(&ann, "web", None).await.unwrap();
    assert_eq!(stopping.status, Status::Stopping);
    server.end().await;
    assert!(wanted().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_held_by_a_finalizer_is_on_its_way_out() {
    let stage = Stage::start().await;
    let server = stage.server().await;
    let ann = owner("ann");
    let made = server.workspaces.create(&ann, new("web")).await.unwrap();
    let with_finalizers = |finalizers: serde_json::Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let held = with_finalizers(json!(["example.com/hold"]));
    stage.objects().patch(&made.id, &PatchParams::default(), &held).await.unwrap();
    assert_eq!(server.workspaces.delete(&ann, "web").await.unwrap().status, Status::Stopping);
    let seen = server.workspaces.get(&ann, "web").await.unwrap();
    assert!(seen.problem.unwrap().contains("being deleted"));
    for refused in [
        server.workspaces.create(&ann, new("web")).await.err(),
        server.workspaces.start(&ann, "web", None).await.err(),
        server.workspaces.restart(&ann, "web", None).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::BeingDeleted { .. })), "{refused:?}");
    }
    stage.objects().patch(&made.id, &PatchParams::default(), &with_finalizers(json!(null))).await.unwrap();
    eventually("it is gone", async || server.workspaces.get(&ann, "web").await.err()).await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_what_is_known_is_told() {
    let stage = Stage::start().await;
    let wire = Wire::start(stage.plane).await;
    let kubeconfig = stage.plane.kubeconfig_for_service_account_at(&stage.namespace, "server", wire.url()).await;
    let server = super::stage::Server::start(&client_of(&kubeconfig).await.unwrap(), &stage.namespace).await;
    let ann = owner("ann");
    let made = server.workspaces.create(&ann, new("web")).await.unwrap();
    wire.cut();
    assert_eq!(server.workspaces.get(&ann, "web").await.unwrap(), made);
    let refused = server.workspaces.stop(&ann, "web").await.unwrap_err().to_string();
    assert!(refused.contains("could not stop workspace \"web\""), "{refused}");
    let refused = server.workspaces.create(&ann, new("other")).await.unwrap_err().to_string();
    assert!(refused.contains("could not make workspace \"other\""), "{refused}");
    assert_eq!(server.workspaces.list(&ann, WorkspaceFilter::default()).await.unwrap().workspaces, [made]);
    wire.mend();
    eventually("it can be stopped again", async || server.workspaces.stop(&ann, "web").await.ok()).await;
    server.end().await;
}
