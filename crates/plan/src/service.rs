//! The Service in front of the servers. It does not expose their private port, which is for requests to a single pod.

use crate::metadata::{Component, Owner};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::collections::BTreeMap;

/// The name of the Service's port, and of the public port in pods.
pub(super) fn port_name(owner: &Owner<'_>) -> &'static str {
    if owner.endpoint().spec.tls.is_some() { "https" } else { "http" }
}

/// The Service's port.
pub(super) fn port(owner: &Owner<'_>) -> i32 {
    if owner.endpoint().spec.tls.is_some() { 443 } else { 80 }
}

pub(super) fn service(owner: &Owner<'_>, annotations: Option<BTreeMap<String, String>>) -> Service {
    let name = port_name(owner);
    let mut metadata = owner.metadata(owner.name(), Component::Server);
    metadata.annotations = annotations;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(owner.server_labels()),
            ports: Some(vec![ServicePort {
                name: Some(name.to_owned()),
                port: port(owner),
                protocol: Some("TCP".to_owned()),
                // Gateways and service meshes select the protocol by this field.
                app_protocol: owner.endpoint().spec.tls.is_some().then(|| "https".to_owned()),
                target_port: Some(IntOrString::String(name.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
