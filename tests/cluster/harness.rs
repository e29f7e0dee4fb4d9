//! That the control plane of the tests is a real one: what the other tests build upon.

use crate::support::{
    api_server::client_of,
    controlplane::ControlPlane,
    operator::PATIENCE,
    proxy::{Proxy, Side},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde_json::json;
use std::{path::Path, time::Duration};

#[tokio::test]
async fn a_deployment_gets_its_pods_and_takes_them_along() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("harness").await;
    let client = plane.client().await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example.com/web"}]},
        }},
    });
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    let count = async |wanted: usize| {
        tokio::time::timeout(PATIENCE, async {
            while pods.list(&ListParams::default()).await.unwrap().items.len() != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("never {wanted} pods"));
    };
    count(2).await;

    let uid = deployments.get("web").await.unwrap().uid().unwrap();
    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    let gone = await_condition(deployments, "web", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    count(0).await;
}

#[tokio::test]
async fn writes_are_seen_by_user_and_by_metric() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("harness").await;
    let admin = plane.client().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), &namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("robot".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    accounts.create(&PostParams::default(), &account).await.unwrap();

    let kubeconfig = plane.kubeconfig_for_service_account(&namespace, "robot").await;
    let (mark, before) = (plane.audit_mark(), plane.write_requests().await);
    let key = ("POST".to_owned(), "configmaps".to_owned());
    let create = |kubeconfig: &str| {
        plane.kubectl(&["--kubeconfig", kubeconfig, "-n", &namespace, "create", "configmap", "mine"])
    };
    let refused = create(kubeconfig.to_str().unwrap());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("forbidden"), "{refused:?}");
    let made = create(plane.admin_kubeconfig().to_str().unwrap());
    assert!(made.status.success(), "{made:?}");
    Api::<ConfigMap>::namespaced(admin, &namespace).get("mine").await.unwrap();

    let by_robot = plane.audit_writes(mark, &format!("system:serviceaccount:{namespace}:robot"));
    let seen: Vec<_> =
        by_robot.iter().map(|write| (write.verb.as_str(), write.resource.as_str(), write.code)).collect();
    assert_eq!(seen, [("create", "configmaps", 403)]);
    let after = plane.write_requests().await;
    // The metric counts what RBAC lets in.
    assert!(after[&key] > before.get(&key).copied().unwrap_or(0), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_person_may_do_what_their_roles_say_and_the_audit_log_has_it() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("harness").await;
    for args in [
        ["create", "role", "maker", "--verb=create", "--resource=configmaps"].as_slice(),
        &["create", "rolebinding", "maker", "--role=maker", "--group=makers"],
    ] {
        let made = plane.kubectl(&[args, &["-n", &namespace]].concat());
        assert!(made.status.success(), "{made:?}");
    }
    let mark = plane.audit_mark();
    let (jane, joe) = (plane.kubeconfig_for_user("jane", &["makers"]), plane.kubeconfig_for_user("joe", &[]));
    let make = |kubeconfig: &Path, name: &str| {
        let kubeconfig = kubeconfig.to_str().unwrap();
        plane.kubectl(&["--kubeconfig", kubeconfig, "-n", &namespace, "create", "configmap", name])
    };
    assert!(make(&jane, "hers").status.success());
    let refused = String::from_utf8(make(&joe, "his").stderr).unwrap();
    assert!(refused.contains(r#"User "joe" cannot create resource "configmaps""#), "{refused}");
    let codes = |user: &str| plane.audit_writes(mark, user).iter().map(|write| write.code).collect::<Vec<_>>();
    assert_eq!([codes("jane"), codes("joe")], [[201], [403]]);
}

#[tokio::test]
async fn the_proxy_stops_at_a_chosen_write() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.create_namespace("harness").await;
    for args in [
        ["create", "serviceaccount", "robot"].as_slice(),
        &["create", "role", "robot", "--verb=*", "--resource=configmaps"],
        &["create", "rolebinding", "robot", "--role=robot", &format!("--serviceaccount={namespace}:robot")],
    ] {
        let made = plane.kubectl(&[args, &["-n", &namespace]].concat());
        assert!(made.status.success(), "{made:?}");
    }
    let proxy = Proxy::start(plane).await;
    let kubeconfig = plane.kubeconfig_for_service_account_at(&namespace, "robot", &proxy.url()).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client_of(&kubeconfig).await.unwrap(), &namespace);
    let create = |name: &'static str| {
        let config_maps = config_maps.clone();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let config_map = ConfigMap { metadata, ..ConfigMap::default() };
        tokio::spawn(async move { config_maps.create(&PostParams::default(), &config_map).await })
    };
    let exists = async |name: &str| config_maps.get_opt(name).await.unwrap().is_some();
    let path = format!("POST /api/v1/namespaces/{namespace}/configmaps");

    let stopped = proxy.stop_after(1, Side::Before);
    create("first").await.unwrap().unwrap();
    let second = create("second");
    assert_eq!(stopped.await.unwrap(), path);
    assert!(exists("first").await && !exists("second").await && !second.is_finished());

    let stopped = proxy.stop_after(0, Side::After);
    let third = create("third");
    assert_eq!(stopped.await.unwrap(), path);
    assert!(exists("third").await && !third.is_finished());

    proxy.open();
    let watching = await_condition(config_maps.clone(), "fourth", |object: Option<&ConfigMap>| object.is_some());
    let watching = tokio::spawn(tokio::time::timeout(PATIENCE, watching));
    create("fourth").await.unwrap().unwrap();
    watching.await.unwrap().unwrap().unwrap();
    assert_eq!(proxy.writes(), [path.as_str(); 3]);
}
