//! Configures the proxy in front of the servers: TLS to the servers (`spec.tls`), verification of their certificate,
//! and the response timeout. Without `spec.tls`, no TLS configuration is needed: every controller uses plain HTTP by
//! default.

use crate::{
    ClusterFacts, OptionalKind,
    metadata::{Component, Owner},
};
use kube::core::DynamicObject;
use portcullis_api::McpEndpointSpec;
use portcullis_core::PublicUrl;
use serde_json::json;
use std::collections::BTreeMap;

/// The time in seconds to send a response after the time limit of its request.
const MARGIN: u64 = 10;

const TRAEFIK: &str = "traefik.io/ingress-controller";
const NGINX: &str = "k8s.io/ingress-nginx";

/// The ingress controller that implements the endpoint's Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Implementation {
    Traefik,
    /// ingress-nginx, or another controller that reads its annotations.
    IngressNginx,
    Unknown,
}

/// The class of the endpoint's Ingress, and the controller of the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Controller<'a> {
    /// The effective IngressClass: the one of the manifest, or the cluster's default.
    pub(super) class: Option<&'a str>,
    /// `spec.controller` of the class, if the class exists.
    pub(super) name: Option<&'a str>,
}

impl<'a> Controller<'a> {
    pub(super) fn of(spec: &'a McpEndpointSpec, cluster: &'a ClusterFacts) -> Self {
        let given = spec.exposure.ingress.as_ref().and_then(|ingress| ingress.class_name.as_deref());
        let class = given.or(cluster.default_ingress_class.as_deref());
        let name = class.and_then(|class| cluster.ingress_classes.get(class)).map(String::as_str);
        Self { class, name }
    }

    pub(super) fn implementation(&self) -> Implementation {
        match self.name {
            Some(TRAEFIK) => Implementation::Traefik,
            Some(NGINX) => Implementation::IngressNginx,
            _ => Implementation::Unknown,
        }
    }
}

/// The annotations and objects that configure the connection from the proxy to the servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Backend {
    ingress_annotations: BTreeMap<String, String>,
    service_annotations: BTreeMap<String, String>,
    /// Traefik's ServersTransport.
    pub(super) transport: Option<DynamicObject>,
    /// A sentence for the status about an unexpected configuration.
    pub(super) note: Option<String>,
}

impl Backend {
    pub(super) fn decide(
        owner: &Owner<'_>,
        url: &PublicUrl,
        controller: &Controller<'_>,
        cluster: &ClusterFacts,
    ) -> Self {
        Self::for_tls(owner, url, controller, cluster).with_proxy_timeout(owner, controller)
    }

    fn for_tls(owner: &Owner<'_>, url: &PublicUrl, controller: &Controller<'_>, cluster: &ClusterFacts) -> Self {
        let spec = &owner.endpoint().spec;
        let Some(tls) = &spec.tls else { return Self::default() };
        if spec.exposure.none.is_some() {
            return Self::default();
        }
        if spec.exposure.gateway.is_some() {
            return Self::noting(format!(
                "the servers speak TLS: a Gateway checks their certificate by a BackendTLSPolicy for Service {:?}, which you must create",
                owner.name()
            ));
        }
        match controller.implementation() {
            Implementation::Traefik => Self::traefik(owner, url, &tls.secret_name, cluster),
            Implementation::IngressNginx => Self {
                ingress_annotations: [annotation("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS")].into(),
                ..Self::noting(
                    "the servers speak TLS, and ingress-nginx does not check their certificate unless the annotations nginx.ingress.kubernetes.io/proxy-ssl-* enable it".to_owned(),
                )
            },
            Implementation::Unknown => {
                let who = controller.name.map_or_else(|| "the controller".to_owned(), |name| format!("controller {name}"));
                Self::noting(format!(
                    "the servers speak TLS, and how to configure {who} for that is unknown: use its own annotations in spec.exposure.ingress.annotations, or remove spec.tls"
                ))
            }
        }
    }

    /// Traefik checks the certificate for the URL's host and, if the Secret has `ca.crt` as those of cert-manager do,
    /// against this CA, otherwise against the public CAs.
    fn traefik(owner: &Owner<'_>, url: &PublicUrl, secret: &str, cluster: &ClusterFacts) -> Self {
        let scheme = annotation("traefik.ingress.kubernetes.io/service.serversscheme", "https");
        if !cluster.optional.contains(&OptionalKind::ServersTransport) {
            return Self {
                service_annotations: [scheme].into(),
                ..Self::noting(
                    "the servers speak TLS, but Traefik's ServersTransport kind (traefik.io/v1alpha1) is not installed, so Traefik looks for the pod's address in their certificate and answers 500; install it, or remove spec.tls".to_owned(),
                )
            };
        }
        let name = owner.named("servers");
        let reference = format!("{}-{name}@kubernetescrd", owner.namespace());
        let transport = DynamicObject {
            types: Some(OptionalKind::ServersTransport.types()),
            metadata: owner.metadata(name, Component::Server),
            // `rootCAs`, the replacement of `rootCAsSecrets`, requires Traefik 3.4.
            data: json!({"spec": {"serverName": url.host(), "rootCAsSecrets": [secret]}}),
        };
        Self {
            service_annotations: [
                scheme,
                annotation("traefik.ingress.kubernetes.io/service.serverstransport", &reference),
            ]
            .into(),
            transport: Some(transport),
            ..Self::default()
        }
    }

    fn noting(note: String) -> Self {
        Self { note: Some(note), ..Self::default() }
    }

    /// Raises the timeout of ingress-nginx from 60 seconds to the time limit of requests. Traefik has no such timeout.
    fn with_proxy_timeout(mut self, owner: &Owner<'_>, controller: &Controller<'_>) -> Self {
        if controller.implementation() == Implementation::IngressNginx {
            let seconds = proxy_timeout(owner).to_string();
            for name in ["proxy-read-timeout", "proxy-send-timeout"] {
                let name = format!("nginx.ingress.kubernetes.io/{name}");
                self.ingress_annotations.insert(name, seconds.clone());
            }
        }
        self
    }

    /// Adds the annotations to those of the manifest, which take precedence.
    pub(super) fn annotate_ingress(&self, annotations: &mut BTreeMap<String, String>) {
        for (name, value) in &self.ingress_annotations {
            annotations.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    pub(super) fn service_annotations(&self) -> Option<BTreeMap<String, String>> {
        (!self.service_annotations.is_empty()).then(|| self.service_annotations.clone())
    }
}

/// The proxy's timeout for a response, in seconds.
pub(super) fn proxy_timeout(owner: &Owner<'_>) -> u64 {
    owner.endpoint().spec.limits.request_timeout.as_duration().as_secs().saturating_add(MARGIN)
}

fn annotation(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
