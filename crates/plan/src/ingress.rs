//! The Ingress: the endpoint's paths, the certificate, and the annotations for the controller.

use crate::{
    backend::{Backend, Controller},
    cors::Cors,
    metadata::{Component, Owner},
    paths::{Path, paths},
    route::Route,
    service,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use portcullis_api::exposure::{IngressExposure, IngressTls, IssuerRef};
use portcullis_core::PublicUrl;
use std::collections::BTreeMap;

const CERT_MANAGER: &str = "cert-manager.io";

/// The Ingress; `None` if the endpoint uses a Gateway or is not exposed, or if the route has a problem.
pub(super) fn ingress(
    owner: &Owner<'_>,
    url: &PublicUrl,
    controller: &Controller<'_>,
    cors: &Cors,
    backend: &Backend,
    route: &Route,
) -> Option<Ingress> {
    let exposure = &owner.endpoint().spec.exposure;
    if exposure.none.is_some() || exposure.gateway.is_some() || route.problem.is_some() {
        return None;
    }
    let given = exposure.ingress.clone().unwrap_or_default();
    let host = url.domain().map(ToOwned::to_owned);
    let mut annotations = cors.annotate(owner, route.annotations.clone());
    backend.annotate_ingress(&mut annotations);
    if let Some(issuer) = given.tls.as_ref().and_then(|tls| tls.issuer_ref.as_ref()) {
        annotations.extend(certificate_annotations(issuer));
    }
    let mut metadata = owner.metadata(owner.name(), Component::Server);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let paths = paths(owner.endpoint(), url).into_iter().map(|path| rule_path(owner, path)).collect();
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: controller.class.map(ToOwned::to_owned),
            tls: tls(owner, url, &given, host.as_deref()).map(|tls| vec![tls]),
            rules: Some(vec![IngressRule { host, http: Some(HTTPIngressRuleValue { paths }) }]),
            default_backend: None,
        }),
        status: None,
    })
}

/// The TLS entry. An entry without a Secret makes a controller serve HTTPS with its default certificate.
fn tls(owner: &Owner<'_>, url: &PublicUrl, given: &IngressExposure, host: Option<&str>) -> Option<IngressTLS> {
    let secret_name = given.tls.as_ref().map(|tls| secret_name(owner, tls));
    (secret_name.is_some() || url.origin().starts_with("https://"))
        .then(|| IngressTLS { hosts: host.map(|host| vec![host.to_owned()]), secret_name })
}

fn secret_name(owner: &Owner<'_>, tls: &IngressTls) -> String {
    tls.secret_name.clone().unwrap_or_else(|| owner.named("tls"))
}

/// The annotations that name the issuer for cert-manager: <https://cert-manager.io/docs/usage/ingress/>.
fn certificate_annotations(issuer: &IssuerRef) -> BTreeMap<String, String> {
    let annotation = |name: &str, value: &str| (format!("{CERT_MANAGER}/{name}"), value.to_owned());
    match (issuer.group.as_str(), issuer.kind.as_str()) {
        (CERT_MANAGER, "Issuer") => [annotation("issuer", &issuer.name)].into(),
        (CERT_MANAGER, "ClusterIssuer") => [annotation("cluster-issuer", &issuer.name)].into(),
        (group, kind) => {
            [annotation("issuer", &issuer.name), annotation("issuer-kind", kind), annotation("issuer-group", group)]
                .into()
        }
    }
}

fn rule_path(owner: &Owner<'_>, path: Path) -> HTTPIngressPath {
    let (path_type, path) = match path {
        Path::Exact(path) => ("Exact", path),
        Path::Prefix(path) => ("Prefix", path),
    };
    HTTPIngressPath {
        path: Some(path),
        path_type: path_type.to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: owner.name().to_owned(),
                port: Some(ServiceBackendPort { name: Some(service::port_name(owner).to_owned()), number: None }),
            }),
            resource: None,
        },
    }
}
