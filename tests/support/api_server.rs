//! What tests do with an API server, whatever it is part of: clients, kubectl, namespaces, credentials of others.

use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{Namespace, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Whatever went wrong, for people.
pub type Problem = Box<dyn Error + Send + Sync>;

/// An API server that is reached with an administrator's kubeconfig.
pub struct ApiServer {
    kubectl: PathBuf,
    folder: PathBuf,
    kubeconfig: PathBuf,
    /// The `cluster` of the kubeconfig: where the server is and who vouches for it.
    cluster: Value,
    /// The `user` of the kubeconfig: how it proves who it is.
    user: Value,
}

impl ApiServer {
    /// The one that a kubeconfig's current context names. Files are kept in `folder`.
    pub fn new(kubectl: PathBuf, folder: PathBuf, kubeconfig: PathBuf) -> Result<Self, Problem> {
        let config = Kubeconfig::read_from(&kubeconfig)?;
        let context = config.contexts.iter().find(|context| Some(&context.name) == config.current_context.as_ref());
        let context = context.and_then(|context| context.context.as_ref());
        let context = context.ok_or_else(|| format!("{} has no current context", kubeconfig.display()))?;
        let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let user = config.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
        Ok(Self {
            cluster: serde_json::to_value(cluster.and_then(|cluster| cluster.cluster.as_ref()))?,
            user: serde_json::to_value(user.and_then(|user| user.auth_info.as_ref()))?,
            kubectl,
            folder,
            kubeconfig,
        })
    }

    /// Where files are kept; removed at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Such as `https://127.0.0.1:6443`.
    pub fn url(&self) -> &str {
        self.cluster["server"].as_str().expect("a cluster has a server")
    }

    /// A kubeconfig that may do everything.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that may do everything. It belongs to the calling test's runtime, so it cannot be shared.
    pub async fn client(&self) -> Client {
        client_of(&self.kubeconfig).await.expect("the admin's kubeconfig is usable")
    }

    /// A client that is nobody: requests through it carry the credentials that they come with.
    pub async fn anonymous_client(&self) -> Client {
        let kubeconfig = self.write_kubeconfig("nobody", self.url(), &json!({}));
        client_of(&kubeconfig).await.expect("a kubeconfig without a user is usable")
    }

    /// kubectl as the administrator, to be run.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.args(args).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder);
        command
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with_input(args, "")
    }

    /// Runs kubectl as the administrator, with `input` on its standard input (`-f -`).
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .kubectl_command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("kubectl reads its input");
        child.wait_with_output().expect("kubectl ends")
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        let done = self.kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifests);
        assert!(done.status.success(), "{done:?}");
    }

    /// A new namespace, whose name begins with `prefix`.
    pub async fn create_namespace(&self, prefix: &str) -> String {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made = Api::all(self.client().await).create(&PostParams::default(), &namespace).await.unwrap();
        made.metadata.name.expect("the server names it")
    }

    /// A kubeconfig with a token of a service account, for the API server itself.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        self.kubeconfig_for_service_account_at(namespace, name, self.url()).await
    }

    /// A kubeconfig with a token of a service account, for a proxy in front of the API server.
    pub async fn kubeconfig_for_service_account_at(&self, namespace: &str, name: &str, url: &str) -> PathBuf {
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
        let token = answer.status.expect("the server grants it").token;
        let file = format!("{namespace}-{name}-{}", url.rsplit(':').next().unwrap_or_default());
        self.write_kubeconfig(&file, url, &json!({"token": token}))
    }

    /// A kubeconfig of a person, as whom the administrator acts: the API server holds them to what they may do.
    pub fn kubeconfig_for_user(&self, name: &str, groups: &[&str]) -> PathBuf {
        let mut user = self.user.clone();
        user["as"] = json!(name);
        user["as-groups"] = json!(groups);
        self.write_kubeconfig(&format!("user-{name}"), self.url(), &user)
    }

    fn write_kubeconfig(&self, name: &str, url: &str, user: &Value) -> PathBuf {
        let mut cluster = if url.starts_with("https:") { self.cluster.clone() } else { json!({}) };
        cluster["server"] = json!(url);
        let path = self.folder.join(format!("{name}.kubeconfig"));
        write_kubeconfig(&path, &cluster, user).unwrap();
        path
    }
}

/// Writes a kubeconfig with one context.
pub fn write_kubeconfig(path: &Path, cluster: &Value, user: &Value) -> Result<(), Problem> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": user}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    });
    Ok(fs::write(path, serde_json::to_vec_pretty(&kubeconfig)?)?)
}

/// A client with a kubeconfig of one's choice. It belongs to the calling test's runtime.
pub async fn client_of(kubeconfig: &Path) -> Result<Client, Problem> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
