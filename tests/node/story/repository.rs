//! A repository that pods clone by name: `git://git/hello`.

use crate::stage::Stage;
use serde_json::{Value, json};

/// Its files.
const FILES: [(&str, &str); 3] = [
    ("Makefile", include_str!("hello/Makefile")),
    ("greet.c", include_str!("hello/greet.c")),
    ("serve.py", include_str!("hello/serve.py")),
];
const SERVE: &str = "
    git init --quiet hello && cp /files/* hello
    git -C hello add . && git -C hello -c user.name=ann -c user.email=ann@example.com commit --quiet -m 'Say hello'
    exec git daemon --export-all --reuseaddr --base-path=/repositories
";

/// Serves it in the stage's namespace, and waits until it can be cloned.
pub fn serve(stage: &Stage<'_>) {
    let files: Value = FILES.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "git", "labels": {"app": "git"}},
        "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "git", "image": "local/workspace:1", "command": ["sh", "-c", SERVE],
                "workingDir": "/repositories",
                "readinessProbe": {"tcpSocket": {"port": 9418}, "periodSeconds": 1},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "files", "mountPath": "/files"}, {"name": "repositories", "mountPath": "/repositories"},
                ],
            }],
            "volumes": [{"name": "files", "configMap": {"name": "hello"}}, {"name": "repositories", "emptyDir": {}}],
        },
    });
    stage.apply(&[
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hello"}, "data": files}),
        pod,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "git"},
            "spec": {"selector": {"app": "git"}, "ports": [{"port": 9418}]},
        }),
    ]);
    stage.node.wait_for("coredns");
    stage.kubectl(&["wait", "--for=condition=Ready", "pod/git", "--timeout=60s"]);
}
