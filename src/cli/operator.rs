//! `portcullis operator`: reconciles the custom resources of the cluster.

use super::{LogOptions, cluster, signals::until_signal};
use clap::Args;
use ipnet::IpNet;
use kube::Config;
use portcullis_core::{clock::SystemClock, hex, rng};
use portcullis_operator::{self, OperatorError, Settings, leader::Election};
use portcullis_plan::{ExposureRules, Neighbours, Peers};
use rand::Rng as _;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

/// Reconcile the objects of McpEndpoints, OAuthClients and Workspaces, and report their status.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgs {
    /// The image of the servers, normally the operator's own.
    #[arg(long, env = "PORTCULLIS_SERVER_IMAGE")]
    server_image: String,
    /// The image with the workspace agent, for workspaces that start from now on [default: the image of the servers].
    /// The image portcullis-agent contains only the agent, so nodes pull it faster.
    #[arg(long, env = "PORTCULLIS_AGENT_IMAGE", value_name = "IMAGE")]
    agent_image: Option<String>,
    /// A Secret with registry credentials for these two images. The pods of servers and workspaces refer to it, so it
    /// must exist in each namespace with endpoints. Repeatable.
    #[arg(
        long = "image-pull-secret",
        env = "PORTCULLIS_IMAGE_PULL_SECRETS",
        value_delimiter = ',',
        value_parser = object_name,
        value_name = "NAME"
    )]
    pull_secrets: Vec<String>,
    /// A namespace whose resources are reconciled [default: all]. Repeatable. The operator needs permissions in these
    /// only, except for reading IngressClasses.
    #[arg(
        long = "watch-namespace",
        env = "PORTCULLIS_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    watch_namespaces: Vec<String>,
    /// The namespace of the Lease for leader election.
    #[arg(long, env = "POD_NAMESPACE", default_value = "portcullis-system")]
    namespace: String,
    /// The name of this replica in the Lease [default: random].
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// The duration of the Lease in seconds: how long the other replicas wait after a leader has failed.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease_seconds: u64,
    /// The listen address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8081")]
    listen: SocketAddr,
    /// A network of the cluster with public addresses, such as those of its nodes or pods: workspaces with `egress:
    /// Internet` cannot connect to it. Repeatable; private networks are always excluded.
    #[arg(long = "internal-cidr", env = "PORTCULLIS_INTERNAL_CIDRS", value_delimiter = ',', value_name = "CIDR")]
    internal_cidrs: Vec<IpNet>,
    /// The Ingress and HTTPRoute settings that endpoints may use, as JSON: annotations, ingressClasses, hosts,
    /// sharedHosts, and the same by namespace under namespaces [default: harmless annotations, every class and host].
    /// See docs/exposure.md.
    #[arg(long, env = "PORTCULLIS_EXPOSURE", value_name = "JSON")]
    exposure: Option<ExposureRules>,
    /// A label of the operator's own pods. Only they, and the peers of --monitoring-from, may connect to the private
    /// port of servers. Repeatable.
    #[arg(
        long = "pod-label",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        value_parser = label,
        default_value = "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=operator"
    )]
    pod_labels: Vec<(String, String)>,
    /// Peers that collect metrics from servers, as a JSON list of NetworkPolicy peers.
    #[arg(long, env = "PORTCULLIS_MONITORING_FROM", value_name = "JSON")]
    monitoring_from: Option<Peers>,
    #[command(flatten)]
    pub(super) logs: LogOptions,
}

impl OperatorArgs {
    /// The image with the workspace agent.
    fn agent_image(&self) -> String {
        self.agent_image.as_ref().unwrap_or(&self.server_image).clone()
    }
}

/// The name of an object (RFC 1123 subdomain): the API server would refuse every pod with another.
fn object_name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let valid =
        bytes.len() <= 253 && bytes.iter().copied().all(is_inner) && is_end(bytes.first()) && is_end(bytes.last());
    valid.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "{text:?} is not the name of a Secret; use a-z, 0-9, - and ., beginning and ending with a letter or digit"
        )
    })
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not a label such as app=operator"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Why `portcullis operator` failed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorCommandError {
    /// No cluster is configured.
    #[error("no cluster is configured; set KUBECONFIG, or run in a pod with a service account")]
    Config(#[source] kube::config::InferConfigError),
    /// The configuration of the cluster is unusable.
    #[error("the cluster's configuration cannot be used")]
    Client(#[source] kube::Error),
    /// The signal handlers could not be installed.
    #[error("signals cannot be received")]
    Signal(#[source] io::Error),
    /// The operator ended with an error.
    #[error("the operator failed")]
    Operator(#[source] OperatorError),
}

/// Runs until SIGTERM or SIGINT, then completes the running work. A second signal ends it at once.
pub async fn run(args: OperatorArgs) -> Result<(), OperatorCommandError> {
    let config = Config::infer().await.map_err(OperatorCommandError::Config)?;
    let client = cluster::client(config, || {}).map_err(OperatorCommandError::Client)?;
    let mut rng = rng::rng();
    let agent_image = args.agent_image();
    let identity = args.identity.unwrap_or_else(|| {
        let mut bytes = [0_u8; 8];
        rng.fill_bytes(&mut bytes);
        hex(&bytes)
    });
    let settings = Settings {
        clock: Arc::new(SystemClock),
        rng: Arc::new(Mutex::new(rng)),
        agent_image,
        server_image: args.server_image,
        pull_secrets: args.pull_secrets.into_iter().collect(),
        internal: args.internal_cidrs,
        exposure: args.exposure.unwrap_or_default(),
        neighbours: Neighbours {
            monitoring: args.monitoring_from.unwrap_or_default().0,
            ..Neighbours::of_operator(&args.namespace, args.pod_labels.into_iter().collect())
        },
        namespaces: args.watch_namespaces,
        election: Election { namespace: args.namespace, identity, lease_seconds: args.lease_seconds },
        listen: args.listen,
    };
    let operate = |shutdown| Box::pin(portcullis_operator::run(client, settings, shutdown));
    match until_signal(operate).await.map_err(OperatorCommandError::Signal)? {
        Some(ended) => ended.map_err(OperatorCommandError::Operator),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: OperatorArgs,
    }

    #[test]
    fn agents_come_from_the_servers_image_unless_another_is_named() {
        for (named, expected) in [(None, "servers:1"), (Some("--agent-image=agents:1"), "agents:1")] {
            let line = ["operator", "--server-image=servers:1"].into_iter().chain(named);
            assert_eq!(Line::try_parse_from(line).unwrap().args.agent_image(), expected);
        }
    }

    #[test]
    fn pull_secrets_are_names_of_secrets() {
        let parsed = |value: &str| {
            let option = format!("--image-pull-secret={value}");
            let line = ["operator", "--server-image=servers:1", &option];
            Line::try_parse_from(line).map(|line| line.args.pull_secrets).map_err(|error| error.to_string())
        };
        assert_eq!(parsed("registry,mirror.eu-1"), Ok(vec!["registry".to_owned(), "mirror.eu-1".to_owned()]));
        for wrong in ["Registry", "-registry", "registry-", "a b", &"a".repeat(254)] {
            let error = parsed(wrong).unwrap_err();
            assert!(error.contains("is not the name of a Secret"), "{wrong}: {error}");
        }
    }
}
