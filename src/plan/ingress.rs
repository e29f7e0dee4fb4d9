//! The Ingress: the endpoint's own paths and no others, so that several endpoints can share a host.

use super::{
    cors::Cors,
    deployment::HTTP,
    metadata::{Component, Owner},
};
use crate::{api::exposure::IngressExposure, config::PublicUrl};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use url::Url;

/// `None` with `spec.exposure.none`.
pub(super) fn ingress(owner: &Owner<'_>, url: &PublicUrl, class: Option<&str>, cors: &Cors) -> Option<Ingress> {
    let exposure = &owner.endpoint().spec.exposure;
    if exposure.none.is_some() {
        return None;
    }
    let given = exposure.ingress.clone().unwrap_or_default();
    let host = host(url);
    let mut metadata = owner.metadata(owner.name(), Component::Server);
    let annotations = cors.annotate(owner, given.annotations.clone());
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: class.map(ToOwned::to_owned),
            tls: tls(url, &given, host.as_deref()).map(|tls| vec![tls]),
            rules: Some(vec![IngressRule { host, http: Some(HTTPIngressRuleValue { paths: paths(owner, url) }) }]),
            default_backend: None,
        }),
        status: None,
    })
}

/// The URL's host without its port. An Ingress refuses addresses; without a host it serves them all.
fn host(url: &PublicUrl) -> Option<String> {
    Url::parse(&url.resource()).ok()?.domain().map(ToOwned::to_owned)
}

/// Without a Secret too: that is how a controller is told to serve https with its default certificate.
fn tls(url: &PublicUrl, given: &IngressExposure, host: Option<&str>) -> Option<IngressTLS> {
    let secret_name = given.tls.as_ref().and_then(|tls| tls.secret_name.clone());
    (secret_name.is_some() || url.origin().starts_with("https://"))
        .then(|| IngressTLS { hosts: host.map(|host| vec![host.to_owned()]), secret_name })
}

fn paths(owner: &Owner<'_>, url: &PublicUrl) -> Vec<HTTPIngressPath> {
    let path = |path_type: &str, path: String| HTTPIngressPath {
        path: Some(path),
        path_type: path_type.to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: owner.name().to_owned(),
                port: Some(ServiceBackendPort { name: Some(HTTP.to_owned()), number: None }),
            }),
            resource: None,
        },
    };
    let base = url.base_path();
    let mut paths = vec![
        path("Prefix", url.path().to_owned()),
        path("Exact", format!("{base}/jwks.json")),
        path("Exact", url.resource_metadata_path()),
        path("Exact", url.issuer_metadata_path()),
    ];
    if owner.endpoint().spec.external_issuer.is_none() {
        let exact = ["authorize", "consent", "logout", "token", "revoke", "introspect", "register"];
        paths.extend(exact.map(|name| path("Exact", format!("{base}/{name}"))));
        paths.extend(["login", "agents", "assets"].map(|name| path("Prefix", format!("{base}/{name}"))));
    }
    if base.is_empty() {
        // Where clients of the 2025-06-18 revision look for the metadata when the 401 did not say.
        paths.push(path("Exact", "/.well-known/oauth-protected-resource".to_owned()));
    }
    paths
}
