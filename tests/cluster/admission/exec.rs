//! What `deploy/exec-policy.yaml` lets servers exec into, with the rights of `deploy/rbac.yaml`.

use crate::support::{api_server::client_of, controlplane::ControlPlane, operator::install};
use kube::Client;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use url::form_urlencoded;

const AGENT: &[&str] = &["/run/portcullis/portcullis", "agent", "connect"];

#[tokio::test]
async fn servers_exec_into_workspaces_only_and_only_for_the_agent() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let namespace = plane.create_namespace("exec").await;
    let pod = |name: &str| {
        let containers = ["workspace", "other"].map(|name| json!({"name": name, "image": "example.com/a"}));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}})
    };
    let pods = json!({"apiVersion": "v1", "kind": "List", "items": [pod("workspace-a-0"), pod("agents-1")]});
    let made = plane.kubectl_with_input(&["-n", &namespace, "create", "-f", "-"], &pods.to_string());
    assert!(made.status.success(), "{made:?}");
    for account in ["portcullis-server-agents", "somebody"] {
        let bound = format!("--serviceaccount={namespace}:{account}");
        for args in [
            ["-n", &namespace, "create", "serviceaccount", account].as_slice(),
            &["-n", &namespace, "create", "rolebinding", account, "--clusterrole=portcullis-server-exec", &bound],
        ] {
            let made = plane.kubectl(args);
            assert!(made.status.success(), "{made:?}");
        }
    }
    let as_account =
        async |name: &str| client_of(&plane.kubeconfig_for_service_account(&namespace, name).await).await.unwrap();
    let (server, somebody) = (as_account("portcullis-server-agents").await, as_account("somebody").await);
    let exec = async |client: &Client, pod: &str, container: &str, command: &[&str]| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("stdin", "true"), ("stdout", "true")]);
        if !container.is_empty() {
            query.append_pair("container", container);
        }
        query.extend_pairs(command.iter().map(|word| ("command", word)));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?{}", query.finish());
        let request = http::Request::post(path).body(Vec::new()).unwrap();
        match client.request_text(request).await {
            Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
            other => panic!("no kubelet answers here: {other:?}"),
        }
    };

    // A policy counts a moment after it was made.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !exec(&server, "agents-1", "workspace", AGENT).await.1.contains("portcullis-exec") {
        assert!(Instant::now() < deadline, "the policy is never enforced");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let into_workspaces = "may exec into workspaces only";
    let container = "may exec into the container \"workspace\" only";
    let command = "may connect to the agent only";
    // Past admission, there is no node to connect to.
    let past = "does not have a host assigned";
    for (client, pod, container, words, says) in [
        (&server, "workspace-a-0", "workspace", AGENT, past),
        (&server, "agents-1", "workspace", AGENT, into_workspaces),
        (&server, "workspace-a-0", "other", AGENT, container),
        (&server, "workspace-a-0", "", AGENT, container),
        (&server, "workspace-a-0", "workspace", &["/bin/sh"][..], command),
        (&server, "workspace-a-0", "workspace", &AGENT[..2], command),
        (&server, "workspace-a-0", "workspace", &[AGENT, &["x"]].concat()[..], command),
        (&server, "workspace-a-0", "workspace", &[], command),
        (&somebody, "agents-1", "other", &["/bin/sh"][..], past),
    ] {
        let (code, message) = exec(client, pod, container, words).await;
        assert!(message.contains(says), "{pod} {container} {words:?}: {code} {message}");
        assert_eq!(code == 400, says == past, "{pod} {container} {words:?}: {code} {message}");
    }
}
