//! The store itself, two of it side by side as in two servers.

use crate::{
    late::Late,
    operator::stage::install,
    support::{
        api_server::client_of,
        controlplane::ControlPlane,
        grants::{conform, conform_accounts, conform_registrations, eventually, grant},
        wire::Wire,
    },
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use portcullis_api::{OAuthClient, OAuthGrant};
use portcullis_core::clock::{Clock as _, SystemClock};
use portcullis_oauth::{
    client::{NewRegistration, Registrations},
    grant::{GrantLookup, Grants},
};
use portcullis_reflector::Health;
use portcullis_state::{Kubernetes, kubernetes::KINDS};
use serde_json::json;
use std::sync::Arc;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// A store that follows the API server until it is stopped.
struct Running {
    store: Arc<Kubernetes>,
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(client: &Client, namespace: &str) -> Self {
        let clock = Arc::new(SystemClock);
        let health = Arc::new(Health::remote(KINDS, clock.clone()));
        let store = Arc::new(Kubernetes::new(client, namespace, "agents", Arc::clone(&health), clock));
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (store, stop) = (Arc::clone(&store), stop.clone());
            async move { store.run(&stop).await }
        });
        let running = Self { store, health, stop, task };
        eventually("the first list", || running.health.is_complete().then_some(())).await;
        running
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A namespace with the account of the endpoint `agents`, which has the rights of a server.
async fn stage(plane: &ControlPlane) -> String {
    install(plane);
    let namespace = plane.create_namespace("state").await;
    for args in [
        ["create", "serviceaccount", "portcullis-server-agents"].as_slice(),
        &[
            "create",
            "rolebinding",
            "portcullis-server-agents",
            "--clusterrole=portcullis-server",
            &format!("--serviceaccount={namespace}:portcullis-server-agents"),
        ],
    ] {
        let made = plane.kubectl(&[args, &["-n", &namespace]].concat());
        assert!(made.status.success(), "{made:?}");
    }
    namespace
}

async fn as_server(plane: &ControlPlane, namespace: &str) -> Client {
    client_of(&plane.kubeconfig_for_service_account(namespace, "portcullis-server-agents").await).await.unwrap()
}

/// The API server keeps whole seconds of creation, and what comes back must equal what went in.
fn now() -> Timestamp {
    Timestamp::from_second(SystemClock.now().as_second()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let plane = ControlPlane::shared().await;
    let namespace = stage(plane).await;
    let (first, second) = (as_server(plane, &namespace).await, as_server(plane, &namespace).await);
    let (a, b) = (Running::start(&first, &namespace).await, Running::start(&second, &namespace).await);
    conform(Arc::clone(&a.store) as _, Arc::clone(&b.store) as _, now()).await;
    conform_registrations(&*a.store, &*b.store, now()).await;
    conform_accounts(&*a.store, &*b.store, now()).await;
    assert!(a.health.stale_seconds().is_some());
    a.end().await;
    b.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_anywhere_is_gone_everywhere() {
    let plane = ControlPlane::shared().await;
    let namespace = stage(plane).await;
    let client = as_server(plane, &namespace).await;
    let (a, b) = (Running::start(&client, &namespace).await, Running::start(&client, &namespace).await);
    let admin = plane.client().await;
    let grants: Api<OAuthGrant> = Api::namespaced(admin.clone(), &namespace);

    Grants::create(&*a.store, grant("g-1", "ann", now())).await.unwrap();
    Grants::create(&*a.store, grant("g-2", "ann", now())).await.unwrap();
    Grants::create(&*a.store, grant("g-3", "ann", now())).await.unwrap();
    grants.delete("g-1", &DeleteParams::default()).await.unwrap();
    // Without its label it is nobody's.
    let unlabelled = json!({"metadata": {"labels": {"portcullis.dev/endpoint": null}}});
    grants.patch("g-2", &PatchParams::default(), &Patch::Merge(unlabelled)).await.unwrap();
    // It waits for its dependents, and is as good as gone.
    grants.delete("g-3", &DeleteParams::foreground()).await.unwrap();
    for place in [&a.store, &b.store] {
        for name in ["g-1", "g-2", "g-3"] {
            eventually("the deletion", || matches!(Grants::find(&**place, name), GrantLookup::Deleted).then_some(()))
                .await;
        }
        assert!(place.of_user("local:ann").is_empty());
    }
    assert_eq!(Grants::read(&*a.store, "g-1").await.unwrap(), None);

    // A grant of another endpoint in the same namespace is none here, even under its own name.
    let foreign = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthGrant",
        "metadata": {"name": "g-foreign", "labels": {"portcullis.dev/endpoint": "agents"}},
        "spec": {"endpointRef": {"name": "other"}, "clientId": "claude", "user": {"id": "local:ann", "name": "ann"},
            "scopes": ["files:read"], "resource": "https://mcp.example.com/mcp", "expiresAt": "2099-01-01T00:00:00Z"},
    });
    grants.create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    assert_eq!(Grants::read(&*a.store, "g-foreign").await.unwrap(), None);
    assert!(!matches!(Grants::find(&*a.store, "g-foreign"), GrantLookup::Present(_)));

    let registration = NewRegistration {
        name: None,
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        scopes: [portcullis_core::Scope::FilesRead].into(),
        expires_at: now() + SignedDuration::from_hours(1),
        source: None,
    };
    Registrations::create(&*a.store, "dyn-1", registration).await.unwrap();
    eventually("the registration", || Registrations::find(&*b.store, "dyn-1")).await;
    let clients: Api<OAuthClient> = Api::namespaced(admin, &namespace);
    clients.delete("dyn-1", &DeleteParams::default()).await.unwrap();
    for place in [&a.store, &b.store] {
        eventually("the end of it", || Registrations::find(&**place, "dyn-1").is_none().then_some(())).await;
    }
    a.end().await;
    b.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_early_makes_nobody_forget_what_was_made_meanwhile() {
    let plane = ControlPlane::shared().await;
    let namespace = stage(plane).await;
    let client = as_server(plane, &namespace).await;
    let late = Late::new(client.clone(), &namespace, "/oauthgrants/");
    let running = Running::start(&late.client, &namespace).await;
    let store = &*running.store;
    let (early, made) =
        tokio::join!(Grants::read(store, "g-1"), late.meanwhile(Grants::create(store, grant("g-1", "ann", now()))));
    assert_eq!((early.unwrap(), made.unwrap().is_active(now())), (None, true));
    assert!(matches!(Grants::find(store, "g-1"), GrantLookup::Present(_)));
    running.end().await;

    let late = Late::new(client, &namespace, "/oauthclients/");
    let running = Running::start(&late.client, &namespace).await;
    let store = &*running.store;
    let registration = NewRegistration {
        name: None,
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        scopes: [portcullis_core::Scope::FilesRead].into(),
        expires_at: now() + SignedDuration::from_hours(1),
        source: None,
    };
    let (early, made) = tokio::join!(
        Registrations::read(store, "dyn-1"),
        late.meanwhile(Registrations::create(store, "dyn-1", registration))
    );
    assert_eq!((early.unwrap(), Registrations::find(store, "dyn-1")), (None, Some(made.unwrap())));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_noticed_in_seconds() {
    let plane = ControlPlane::shared().await;
    let namespace = stage(plane).await;
    let wire = Wire::start(plane).await;
    let kubeconfig = plane.kubeconfig_for_service_account_at(&namespace, "portcullis-server-agents", wire.url()).await;
    let running = Running::start(&client_of(&kubeconfig).await.unwrap(), &namespace).await;
    Grants::create(&*running.store, grant("g-1", "ann", now())).await.unwrap();

    wire.forget();
    let grants: Api<OAuthGrant> = Api::namespaced(plane.client().await, &namespace);
    grants.delete("g-1", &DeleteParams::default()).await.unwrap();
    let deleted = Instant::now();
    eventually("the deletion", || matches!(Grants::find(&*running.store, "g-1"), GrantLookup::Deleted).then_some(()))
        .await;
    println!("a dead connection was noticed after {:?}", deleted.elapsed());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_written_seldom_and_before_the_end() {
    let plane = ControlPlane::shared().await;
    let namespace = stage(plane).await;
    let client = as_server(plane, &namespace).await;
    let user = format!("system:serviceaccount:{namespace}:portcullis-server-agents");
    let grants: Api<OAuthGrant> = Api::namespaced(plane.client().await, &namespace);
    let last_used = async || grants.get("g-1").await.unwrap().status.and_then(|status| status.last_used);

    let running = Running::start(&client, &namespace).await;
    Grants::create(&*running.store, grant("g-1", "ann", now())).await.unwrap();
    let mark = plane.audit_mark();
    let start = now();
    for second in 0..200 {
        running.store.used("g-1", start + SignedDuration::from_secs(second));
    }
    // At the end of the process nothing is lost, and nothing is written again.
    running.end().await;
    assert_eq!(last_used().await, Some(start));
    let writes = plane.audit_writes(mark, &user);
    let writes: Vec<_> = writes.iter().map(|one| (one.verb.as_str(), one.subresource.as_str(), one.code)).collect();
    assert_eq!(writes, [("patch", "status", 200)]);

    let running = Running::start(&client, &namespace).await;
    let mark = plane.audit_mark();
    running.store.used("g-1", start + SignedDuration::from_secs(299));
    running.store.used("g-1", start + SignedDuration::from_secs(300));
    running.end().await;
    assert_eq!(last_used().await, Some(start + SignedDuration::from_secs(300)));
    assert_eq!(plane.audit_writes(mark, &user).len(), 1);
}
