//! The Service in front of the servers. Their private port is not behind it: whoever asks there asks one pod.

use super::{
    deployment::HTTP,
    metadata::{Component, Owner},
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub(super) fn service(owner: &Owner<'_>) -> Service {
    Service {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(owner.server_labels()),
            ports: Some(vec![ServicePort {
                name: Some(HTTP.to_owned()),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(HTTP.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
