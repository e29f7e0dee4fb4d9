//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, without nodes.
//!
//! Objects, admission, RBAC, owner references and the way from a Deployment to its Pods are therefore the real ones.
//! `tests/controlplane/build.sh` makes the binaries.

use super::{
    api_server::{ApiServer, Problem, client_of, write_kubeconfig},
    audit,
    process::{Janitor, Process, remove_at_end},
};
use jiff::Timestamp;
use kube::{Api, Client, api::PostParams};
use p256::{
    SecretKey,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding},
};
use portcullis_api::crds;
use portcullis_config::SigningKey;
use portcullis_core::rng;
use serde_json::json;
use std::{
    fs,
    net::TcpListener,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};

/// The controllers that run: what owner references, Deployments, StatefulSets with their volumes, Services, quotas and
/// namespaces need. HorizontalPodAutoscalers are left alone, since nothing measures pods here.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
    deployment-controller,replicaset-controller,statefulset-controller,endpointslice-controller,disruption-controller,\
    persistentvolumeclaim-protection-controller,resourcequota-controller,root-ca-certificate-publisher-controller";

const READY_WITHIN: Duration = Duration::from_mins(2);

/// A running control plane. It ends with this value, and with the test process.
pub struct ControlPlane {
    // Dropped in this order: the clients of a server before the server, the folder last.
    _controller_manager: Process,
    _api_server: Process,
    _etcd: Process,
    api_server: ApiServer,
    _janitor: Janitor,
}

impl Deref for ControlPlane {
    type Target = ApiServer;

    fn deref(&self) -> &ApiServer {
        &self.api_server
    }
}

impl ControlPlane {
    /// The one that the tests of this binary share. Each test makes its own namespace in it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts one with the custom resources installed. Takes a few seconds, and minutes where the binaries are still
    /// to be built. Panics with the reason where it cannot.
    pub async fn start() -> Self {
        let binaries = tokio::task::spawn_blocking(binaries).await.unwrap();
        // A port that was free may be taken before its server has it: hence a second and a third try.
        for last in [false, false, true] {
            match Self::try_start(&binaries).await {
                Ok(plane) => return plane,
                Err(problem) if last => panic!("the tests' control plane did not start: {problem}"),
                Err(problem) => eprintln!("starting the control plane once more: {problem}"),
            }
        }
        unreachable!("the last try returns or panics")
    }

    async fn try_start(binaries: &Path) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new().prefix("portcullis-controlplane-").tempdir()?.keep();
        let janitor = remove_at_end(&folder)?;
        let start = |name: &str, args: Vec<String>| {
            Process::start(&binaries.join(name), &args, &[], &folder.join(format!("{name}.log")))
        };
        let path = |name: &str| folder.join(name).display().to_string();

        let [client, peer, secure] = free_ports()?;
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let etcd = start(
            "etcd",
            flags(&[
                ("data-dir", &path("etcd")),
                ("listen-client-urls", &client),
                ("advertise-client-urls", &client),
                ("listen-peer-urls", &peer),
                ("initial-advertise-peer-urls", &peer),
                ("initial-cluster", &format!("default={peer}")),
                ("unsafe-no-fsync", "true"),
                ("log-level", "warn"),
            ]),
        )?;

        let key = SigningKey::generate(Timestamp::UNIX_EPOCH, &mut rng::rng())?;
        let public_key = SecretKey::from_pkcs8_pem(&key.pem)?.public_key().to_public_key_pem(LineEnding::LF)?;
        let token = "admin-of-the-tests";
        fs::write(folder.join("service-accounts.key"), key.pem)?;
        fs::write(folder.join("service-accounts.pub"), public_key)?;
        fs::write(folder.join("tokens.csv"), format!("{token},admin,admin,system:masters\n"))?;
        fs::write(folder.join("audit-policy.yaml"), audit::POLICY)?;
        let mut api_server = start(
            "kube-apiserver",
            flags(&[
                ("etcd-servers", &client),
                ("bind-address", "127.0.0.1"),
                ("advertise-address", "127.0.0.1"),
                ("secure-port", &secure.to_string()),
                ("cert-dir", &path("certificates")),
                ("token-auth-file", &path("tokens.csv")),
                ("authorization-mode", "RBAC"),
                ("service-account-issuer", "https://kubernetes.default.svc"),
                ("service-account-key-file", &path("service-accounts.pub")),
                ("service-account-signing-key-file", &path("service-accounts.key")),
                ("service-cluster-ip-range", "10.0.0.0/16"),
                ("audit-policy-file", &path("audit-policy.yaml")),
                ("audit-log-path", &path("audit.log")),
            ]),
        )?;

        let url = format!("https://127.0.0.1:{secure}");
        let kubeconfig = folder.join("admin.kubeconfig");
        let authority = path("certificates/apiserver.crt");
        let cluster = json!({"server": url, "certificate-authority": authority});
        write_kubeconfig(&kubeconfig, &cluster, &json!({"token": token}))?;
        let admin = first_client(&kubeconfig, &mut api_server, &etcd).await?;
        // Before the controller manager, whose garbage collector looks for new kinds every 30 seconds only.
        install_crds(&admin).await?;

        let controller_manager = start(
            "kube-controller-manager",
            flags(&[
                ("kubeconfig", &path("admin.kubeconfig")),
                ("controllers", CONTROLLERS),
                ("service-account-private-key-file", &path("service-accounts.key")),
                ("root-ca-file", &authority),
                ("leader-elect", "false"),
                ("secure-port", "0"),
                ("kube-api-qps", "500"),
                ("kube-api-burst", "1000"),
            ]),
        )?;
        Ok(Self {
            _controller_manager: controller_manager,
            _api_server: api_server,
            _etcd: etcd,
            api_server: ApiServer::new(binaries.join("kubectl"), folder, kubeconfig)?,
            _janitor: janitor,
        })
    }
}

/// The folder with the binaries, which are built where they are not yet. A test cannot do without, so it fails.
fn binaries() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/build.sh");
    let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().expect("bash runs build.sh");
    assert!(
        output.status.success(),
        "{script} failed, see above. The tests need a real API server: install Go, or set KUBEBUILDER_ASSETS to a folder \
         with etcd, kube-apiserver, kube-controller-manager and kubectl"
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// Ports that were free a moment ago, all different.
fn free_ports<const N: usize>() -> Result<[u16; N], Problem> {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

/// The first client whose `/readyz` answers. Until then the server makes its certificate, migrates and fills its caches.
async fn first_client(kubeconfig: &Path, api_server: &mut Process, etcd: &Process) -> Result<Client, Problem> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let problem = match ready_client(kubeconfig).await {
            Ok(client) => return Ok(client),
            Err(problem) => problem,
        };
        if let Some(status) = api_server.ended() {
            return Err(
                format!("kube-apiserver ended: {status}\n{}\n{}", api_server.log_tail(), etcd.log_tail()).into()
            );
        }
        if Instant::now() > deadline {
            return Err(format!("{problem}\n{}\n{}", api_server.log_tail(), etcd.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ready_client(kubeconfig: &Path) -> Result<Client, Problem> {
    let client = client_of(kubeconfig).await?;
    client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
    Ok(client)
}

async fn install_crds(client: &Client) -> Result<(), Problem> {
    let definitions = Api::all(client.clone());
    for crd in crds::all() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        definitions.create(&PostParams::default(), &crd).await?;
        let established = kube::runtime::conditions::is_crd_established();
        let waiting = kube::runtime::wait::await_condition(definitions.clone(), &name, established);
        tokio::time::timeout(READY_WITHIN, waiting).await.map_err(|_| format!("{name} was never established"))??;
    }
    Ok(())
}
