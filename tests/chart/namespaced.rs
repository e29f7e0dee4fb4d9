//! An operator for named namespaces, with the rights that the chart gives it there and nowhere else.

use crate::{
    support::{
        controlplane::ControlPlane,
        operator::{OPERATOR, Operator, eventually},
    },
    tools::{NAMESPACE, template},
};

#[tokio::test(flavor = "multi_thread")]
async fn it_works_in_its_namespaces_and_is_blind_elsewhere() {
    let plane = ControlPlane::start().await;
    let [one, two, other] = [
        plane.create_namespace("one").await,
        plane.create_namespace("two").await,
        plane.create_namespace("other").await,
    ];
    plane.apply(include_str!("../../deploy/namespace.yaml"));
    let namespaces = format!("watch.namespaces={{{one},{two}}}");
    let rights = template(&["--show-only=templates/rbac.yaml", "--set", &namespaces]);
    assert!(rights.status.success(), "{rights:?}");
    plane.apply(&String::from_utf8(rights.stdout).unwrap());

    let mark = plane.audit_mark();
    let watch = [format!("--watch-namespace={one}"), format!("--watch-namespace={two}")];
    let options = ["--server-image=example.com/portcullis", "--lease-seconds=3", &watch[0], &watch[1]];
    let operator = Operator::start(&plane, plane.url(), "one", &options).await;
    let quickstart = include_str!("../../examples/quickstart.yaml");
    for namespace in [&other, &one, &two] {
        let applied = plane.kubectl_with_input(&["-n", namespace, "apply", "-f", "-"], quickstart);
        assert!(applied.status.success(), "{applied:?}");
    }
    let made = async |namespace: &str| {
        let found =
            plane.kubectl(&["-n", namespace, "get", "deployment/agents", "secret/ci-agent-oauth", "-o", "name"]);
        found.status.success()
    };
    for namespace in [&one, &two] {
        eventually("servers and credentials", async || made(namespace).await.then_some(())).await;
    }
    // A change comes to one that is there too.
    let moved = r#"{"spec": {"deployment": {"replicas": 3}}}"#;
    let patched = plane.kubectl(&["-n", &two, "patch", "mcp/agents", "--type=merge", "-p", moved]);
    assert!(patched.status.success(), "{patched:?}");
    eventually("the change is seen", async || {
        let replicas = ["-n", &two, "get", "deployment/agents", "-o", "jsonpath={.spec.replicas}"];
        (plane.kubectl(&replicas).stdout == b"3").then_some(())
    })
    .await;
    // It was made first.
    assert!(!made(&other).await);

    let writes = plane.audit_writes(mark, OPERATOR);
    assert!(writes.iter().all(|write| write.code != 403 && write.namespace != other), "{writes:?}");
    let log = operator.log();
    assert!(!log.contains("watch failed") && !log.contains("forbidden"), "{log}");
    let may = |namespace: &str| {
        let asked = ["auth", "can-i", "list", "secrets", "--as", OPERATOR, "--namespace", namespace];
        plane.kubectl(&asked).status.success()
    };
    assert_eq!([may(&one), may(&two), may(&other), may(NAMESPACE)], [true, true, false, false]);
}
