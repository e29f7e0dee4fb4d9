//! The operator as a process with the rights of `deploy/rbac.yaml`.

use super::{api_server::ApiServer, process::Process};
use std::{net::TcpListener, path::Path, time::Duration};
use tokio::time::Instant;

/// The user that the operator is to the API server.
pub const OPERATOR: &str = "system:serviceaccount:portcullis-system:portcullis-operator";
/// How long anything may take that happens by itself: far more than it takes on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What Ingresses are of where an endpoint names no class.
const CLASS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: edge, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: example.com/edge}
"#;

/// Installs the rights of `deploy/`, the policies that narrow them, and an IngressClass that is the cluster's default.
pub fn install(server: &ApiServer) {
    server.apply(CLASS);
    server.apply(include_str!("../../deploy/namespace.yaml"));
    server.apply(include_str!("../../deploy/rbac.yaml"));
    server.apply(include_str!("../../deploy/exec-policy.yaml"));
    server.apply(include_str!("../../deploy/server-writes-policy.yaml"));
}

/// An operator that runs. What it logged is shown where a test fails.
pub struct Operator {
    pub process: Process,
    listen: String,
}

impl Operator {
    /// Starts one that finds the API server at `url`: itself, or a proxy in front of it.
    pub async fn start(server: &ApiServer, url: &str, identity: &str, options: &[&str]) -> Self {
        let kubeconfig =
            server.kubeconfig_for_service_account_at("portcullis-system", "portcullis-operator", url).await;
        let folder = kubeconfig.parent().unwrap().to_owned();
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let own = ["operator".to_owned(), format!("--listen={listen}"), format!("--identity={identity}")];
        let args: Vec<String> = own.into_iter().chain(options.iter().map(|&option| option.to_owned())).collect();
        let env = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("RUST_LOG", "info,portcullis=trace,audit=trace")];
        let log = folder.join(format!("operator-{identity}.log"));
        let process = Process::start(Path::new(env!("CARGO_BIN_EXE_portcullis")), &args, &env, &log).unwrap();
        Self { process, listen }
    }

    /// The sum of the samples of a metric whose line begins with `prefix`.
    pub async fn metric(&self, prefix: &str) -> Option<f64> {
        let answer = reqwest::get(format!("http://{}/metrics", self.listen)).await.ok()?;
        let text = answer.text().await.ok()?;
        let samples = text.lines().filter(|line| line.starts_with(prefix));
        Some(samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// How many reconciles it has ended. It reconciles every endpoint once it leads.
    pub async fn reconciles(&self) -> f64 {
        self.metric(r#"portcullis_operator_reconciles_total{kind="McpEndpoint""#).await.unwrap_or_default()
    }

    /// The same of workspaces.
    pub async fn workspace_reconciles(&self) -> f64 {
        self.metric(r#"portcullis_operator_reconciles_total{kind="Workspace""#).await.unwrap_or_default()
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Status and body of its readiness.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("http://{}/readyz", self.listen)).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Its metrics, as Prometheus sees them.
    pub async fn metrics(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.listen)).await.unwrap().text().await.unwrap()
    }

    /// Whether it leads.
    pub async fn leads(&self) -> bool {
        self.metric("portcullis_operator_leader").await == Some(1.0)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.log_tail());
        }
    }
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
