//! Traefik, as the ingress controller and the gateway of the node. It is a process of the machine, which reaches services
//! and pods as if it were in the cluster.

use crate::{
    node::Node,
    script::installed,
    support::{operator::eventually, process::Process},
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

/// What makes it known to the cluster: two kinds of Ingress, the first the cluster's default, and Gateways.
const CLASSES: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: traefik, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: traefik}
spec: {controllerName: traefik.io/gateway-controller}
"#;

pub struct Traefik {
    /// Where it speaks TLS.
    pub address: SocketAddr,
    process: Process,
}

impl Traefik {
    pub async fn start(node: &Node) -> Self {
        let folder = installed("front/install.sh").await;
        let mut manifests: Vec<_> = fs::read_dir(format!("{folder}/manifests")).unwrap().flatten().collect();
        manifests.sort_by_key(fs::DirEntry::path);
        for manifest in manifests {
            node.apply(&fs::read_to_string(manifest.path()).unwrap());
        }
        let kinds = ["crd/middlewares.traefik.io", "crd/gatewayclasses.gateway.networking.k8s.io"];
        let wait = [&["wait", "--for", "condition=Established", "--timeout=30s"][..], &kinds].concat();
        assert!(node.kubectl(&wait).status.success());
        node.apply(CLASSES);

        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let (address, health) = (free(), free());
        let args = [
            format!("--entrypoints.websecure.address={address}"),
            "--entrypoints.websecure.http.tls=true".to_owned(),
            format!("--entrypoints.traefik.address={health}"),
            "--ping=true".to_owned(),
            "--providers.kubernetesingress.ingressendpoint.ip=127.0.0.1".to_owned(),
            "--providers.kubernetescrd=true".to_owned(),
            "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1".to_owned(),
            "--providers.kubernetesingressnginx=true".to_owned(),
            "--global.checknewversion=false".to_owned(),
            "--log.nocolor=true".to_owned(),
            "--accesslog.filters.statuscodes=500-599".to_owned(),
        ];
        let env = [("KUBECONFIG", node.admin_kubeconfig().to_str().unwrap())];
        let log = node.folder().join("traefik.log");
        let process = Process::start(Path::new(&format!("{folder}/traefik")), &args, &env, &log).unwrap();
        eventually("Traefik runs", async || reqwest::get(format!("http://{health}/ping")).await.ok()).await;
        Self { address, process }
    }

    /// The end of what it said.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}
