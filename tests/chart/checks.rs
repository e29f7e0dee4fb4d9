//! Rights that no request names: the API server looks for them while it answers another request.

use crate::{
    stage::{CLIENT, Stage},
    support::{api_server::client_of, operator::eventually},
    uses::Use,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachParams};
use serde_json::{Value, json};

/// What the API server checks while it answers another request, so that the log does not tell, and what servers do only
/// after ten minutes, for clients that sign or for users of identity providers: who is refused without. Each is proved by
/// [`Checks`].
pub const CHECKED: [(&str, &str, &str, &str); 11] = [
    ("portcullis.dev", "mcpendpoints/finalizers", "update", "portcullis-operator"),
    ("portcullis.dev", "oauthclients/finalizers", "update", "portcullis-operator"),
    ("portcullis.dev", "workspaces/finalizers", "update", "portcullis-operator"),
    ("rbac.authorization.k8s.io", "clusterroles", "bind", "portcullis-operator"),
    ("", "pods/exec", "create", "portcullis-server-exec"),
    ("", "events", "create", "portcullis-server"),
    ("portcullis.dev", "oauthclients", "delete", "portcullis-server"),
    ("portcullis.dev", "oauthaccounts", "get", "portcullis-server"),
    ("portcullis.dev", "oauthaccounts", "create", "portcullis-server"),
    ("portcullis.dev", "oauthaccounts", "patch", "portcullis-server"),
    ("portcullis.dev", "oauthaccounts", "delete", "portcullis-operator"),
];

/// Rights that no request names.
pub struct Checks<'a> {
    pub stage: &'a Stage<'a>,
}

impl Checks<'_> {
    /// Somebody with all the rights of operator or server can do what they do; once one of these is taken away, not.
    pub async fn prove(&self) {
        for (group, resource, verb, role) in CHECKED {
            let attempt = async |account: &str| match resource {
                "clusterroles" => self.bind(account),
                "pods/exec" => self.exec(account).await,
                "events" => self.mark(account),
                "oauthclients" => self.evict(account),
                "oauthaccounts" => self.keep(account, verb),
                _ => self.own(account, resource.split('/').next().unwrap()),
            };
            let account = self.account(role, None);
            eventually(&format!("{resource} with every right"), async || {
                attempt(&account).await.inspect_err(|error| eprintln!("{error}")).ok()
            })
            .await;
            self.account(role, Some(&Use::new(group, resource, verb)));
            let refused = async || attempt(&account).await.err();
            let refused = eventually(&format!("{resource} without {verb}"), refused).await;
            assert!(refused.to_lowercase().contains("forbidden"), "{resource}: {refused}");
        }
    }

    /// Gives an account the rights of a role, but for one.
    fn account(&self, role: &str, but: Option<&Use>) -> String {
        let mut copy: Value =
            serde_json::from_str(&self.stage.kubectl(&["get", "clusterrole", role, "-o", "json"])).unwrap();
        // Not one of the servers' names, whose requests are looked at.
        let name = format!("checked-{role}");
        copy["metadata"] = json!({"name": name});
        for rule in copy["rules"].as_array_mut().unwrap() {
            let Some(but) = but else { continue };
            let has = |list: &Value, word: &str| list.as_array().unwrap().iter().any(|one| one == word);
            if has(&rule["apiGroups"], &but.group) && has(&rule["resources"], &but.resource) {
                let list = if but.resource.contains("finalizers") { "resources" } else { "verbs" };
                let left_out = if list == "resources" { &but.resource } else { &but.verb };
                rule[list].as_array_mut().unwrap().retain(|one| one != left_out.as_str());
            }
        }
        copy["rules"].as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!([]));
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.stage.namespace}],
        });
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": self.stage.namespace}});
        self.stage.node.apply(&format!("{copy}\n---\n{binding}\n---\n{account}"));
        name
    }

    fn create(&self, account: &str, object: &Value) -> Result<(), String> {
        let file = manifest(self.stage, object);
        let account = format!("--as=system:serviceaccount:{}:{account}", self.stage.namespace);
        let create = ["-n", &self.stage.namespace, &account, "create", "--dry-run=server", "-f", &file];
        let done = self.stage.node.kubectl(&create);
        if done.status.success() { Ok(()) } else { Err(String::from_utf8(done.stderr).unwrap()) }
    }

    /// Makes an object that blocks the deletion of its owner.
    fn own(&self, account: &str, plural: &str) -> Result<(), String> {
        let list = self.stage.kubectl(&["get", &format!("{plural}.portcullis.dev"), "-o", "json"]);
        let owner: Value = serde_json::from_str::<Value>(&list).unwrap()["items"][0].take();
        let reference = json!({
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true, "controller": true,
        });
        let metadata = json!({"name": "owned", "ownerReferences": [reference]});
        self.create(account, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    }

    /// Gives the servers' role.
    fn bind(&self, account: &str) -> Result<(), String> {
        self.create(account, &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "bound"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "portcullis-server"},
        }))
    }

    /// Notes that an assertion was used.
    fn mark(&self, account: &str) -> Result<(), String> {
        self.create(
            account,
            &json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": "portcullis-assertion-checked"},
                "involvedObject": {"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "name": "agents",
                    "namespace": self.stage.namespace},
                "reason": "AssertionUsed", "type": "Normal",
            }),
        )
    }

    /// Deletes a client.
    fn evict(&self, account: &str) -> Result<(), String> {
        let account = format!("--as=system:serviceaccount:{}:{account}", self.stage.namespace);
        let delete = ["-n", &self.stage.namespace, &account, "delete", "oac", CLIENT, "--dry-run=server"];
        let done = self.stage.node.kubectl(&delete);
        if done.status.success() { Ok(()) } else { Err(String::from_utf8(done.stderr).unwrap()) }
    }

    /// Reads, makes, changes or deletes what is kept of a user of an identity provider.
    fn keep(&self, account: &str, verb: &str) -> Result<(), String> {
        let named = |name: &str| {
            let user = json!({"id": "sso:checked", "name": "checked"});
            json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthAccount",
                "metadata": {"name": name, "namespace": self.stage.namespace},
                "spec": {"endpointRef": {"name": "agents"}, "user": user}})
        };
        if verb == "create" {
            return self.create(account, &named("a-new"));
        }
        self.stage.node.apply(&named("a-checked").to_string());
        let account = format!("--as=system:serviceaccount:{}:{account}", self.stage.namespace);
        let mut asked = vec!["-n", &self.stage.namespace, &account, verb, "oaa", "a-checked"];
        match verb {
            "patch" => asked.extend(["--dry-run=server", "--type=merge", "-p", r#"{"spec":{"token":"sealed"}}"#]),
            "delete" => asked.push("--dry-run=server"),
            _ => {}
        }
        let done = self.stage.node.kubectl(&asked);
        if done.status.success() { Ok(()) } else { Err(String::from_utf8(done.stderr).unwrap()) }
    }

    /// Opens the way to a workspace as servers do: over a websocket.
    async fn exec(&self, account: &str) -> Result<(), String> {
        let running = "--field-selector=status.phase=Running";
        let pod = self.stage.kubectl(&["get", "pods", "-l", "portcullis.dev/workspace", running, "-o", "name"]);
        let pod = pod.lines().next().unwrap().strip_prefix("pod/").unwrap();
        let kubeconfig = self.stage.node.kubeconfig_for_service_account(&self.stage.namespace, account).await;
        let pods: Api<Pod> = Api::namespaced(client_of(&kubeconfig).await.unwrap(), &self.stage.namespace);
        let params = AttachParams::default().container("workspace").stderr(false);
        pods.exec(pod, ["/run/portcullis/portcullis", "agent", "connect"], &params)
            .await
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    }
}

/// Writes a manifest into a file, and names it.
pub fn manifest(stage: &Stage<'_>, object: &Value) -> String {
    let path = stage.node.folder().join("manifest.json");
    std::fs::write(&path, object.to_string()).unwrap();
    path.display().to_string()
}
