//! The ServiceAccount and the Deployment of the servers, compliant with the *restricted* Pod Security Standard.
//!
//! The pod template contains neither the configuration nor the credentials: servers reload them, so a change does not
//! cause a rollout. The only exception is the termination grace period, which follows `spec.limits.requestTimeout`.

use crate::{
    ClusterFacts, credentials, keys, login,
    metadata::{Component, Owner},
    pull_secrets, quantity, rbac, server_config, service,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
            KeyToPath, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
            ResourceFieldSelector, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext,
            ServiceAccount, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use portcullis_config::{
    CERTIFICATE_FILE, CERTIFICATE_KEY_FILE, CLIENTS_FILE, CONFIG_FILE, KEYS_FILE, LAME_DUCK_SECONDS, LOGIN_FILE,
    PRIVATE_PORT, PUBLIC_PORT,
};

const PRIVATE: &str = "private";
const CONFIG_DIR: &str = "/etc/portcullis";
const CONFIG_VOLUME: &str = "config";
/// The user `nonroot` of the distroless images.
const USER: i64 = 65_532;
/// The time in seconds to stop, after the lame-duck period and the longest request.
const STOP_SECONDS: u64 = 10;
const DEFAULT_REPLICAS: i32 = 2;
/// The environment variable that passes the memory limit to `serve`.
const MEMORY_LIMIT: &str = "PORTCULLIS_MEMORY_LIMIT";

/// The desired minimum number of servers.
pub(super) fn least_replicas(owner: &Owner<'_>) -> i32 {
    let spec = &owner.endpoint().spec.deployment;
    match &spec.autoscaling {
        Some(autoscaling) => autoscaling.min,
        None => spec.replicas.unwrap_or(DEFAULT_REPLICAS),
    }
}

/// The number of servers that share the endpoint's rates: the autoscaler's current number, otherwise that of the
/// manifest.
pub(super) fn servers(owner: &Owner<'_>, live: Option<i32>) -> u32 {
    let autoscaled = owner.endpoint().spec.deployment.autoscaling.is_some();
    let wanted = if autoscaled { live } else { None }.unwrap_or_else(|| least_replicas(owner));
    u32::try_from(wanted).unwrap_or_default().max(1)
}

pub(super) fn service_account(owner: &Owner<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.metadata(rbac::service_account_name(owner), Component::Server),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn deployment(owner: &Owner<'_>, cluster: &ClusterFacts) -> Deployment {
    let autoscaled = owner.endpoint().spec.deployment.autoscaling.is_some();
    Deployment {
        metadata: owner.metadata(owner.name(), Component::Server),
        spec: Some(DeploymentSpec {
            // An autoscaler owns this field.
            replicas: (!autoscaled).then(|| least_replicas(owner)),
            selector: owner.server_selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(owner.labels(Component::Server)), ..ObjectMeta::default() }),
                spec: Some(pod(owner, cluster)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(owner: &Owner<'_>, cluster: &ClusterFacts) -> PodSpec {
    let longest = owner.endpoint().spec.limits.request_timeout.as_duration().as_secs();
    let drain = LAME_DUCK_SECONDS + longest + STOP_SECONDS;
    let config = Volume {
        name: CONFIG_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(files(owner)), ..ProjectedVolumeSource::default() }),
        ..Volume::default()
    };
    PodSpec {
        service_account_name: Some(rbac::service_account_name(owner)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets::references(&cluster.pull_secrets),
        termination_grace_period_seconds: i64::try_from(drain).ok(),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(owner.server_selector()),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container(owner, &cluster.server_image)],
        volumes: Some(vec![config, rbac::token_volume()]),
        ..PodSpec::default()
    }
}

fn container(owner: &Owner<'_>, image: &str) -> Container {
    let (public, private) = (format!("0.0.0.0:{PUBLIC_PORT}"), format!("0.0.0.0:{PRIVATE_PORT}"));
    let args = ["serve", "--config-dir", CONFIG_DIR, "--listen", &public, "--private-listen", &private];
    let args = args.into_iter().chain(["--state", "kubernetes", "--endpoint", owner.name()]);
    let config = VolumeMount {
        name: CONFIG_VOLUME.to_owned(),
        mount_path: CONFIG_DIR.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Container {
        name: "server".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args.map(ToOwned::to_owned).collect()),
        // Return freed memory to the system at once: the allocator applies its delayed purge only when it next
        // allocates or frees.
        env: Some(vec![
            EnvVar { name: "MIMALLOC_PURGE_DELAY".to_owned(), value: Some("0".to_owned()), ..EnvVar::default() },
            memory_limit(),
        ]),
        ports: Some(vec![port(service::port_name(owner), PUBLIC_PORT), port(PRIVATE, PRIVATE_PORT)]),
        startup_probe: Some(Probe { failure_threshold: Some(30), ..probe("/healthz", 1) }),
        liveness_probe: Some(Probe { failure_threshold: Some(3), ..probe("/healthz", 10) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 5) }),
        resources: Some(resources(owner)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![config, rbac::token_mount()]),
        ..Container::default()
    }
}

/// The memory limit of the container, from which the server derives its request budget.
fn memory_limit() -> EnvVar {
    EnvVar {
        name: MEMORY_LIMIT.to_owned(),
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                resource: "limits.memory".to_owned(),
                divisor: Some(Quantity("1".to_owned())),
                container_name: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PRIVATE.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        ..Probe::default()
    }
}

/// The sources of one projected volume, so that all files change together.
fn files(owner: &Owner<'_>) -> Vec<VolumeProjection> {
    let key = |file: &str| KeyToPath { key: file.to_owned(), path: file.to_owned(), mode: None };
    let item = |file: &str| Some(vec![key(file)]);
    let secret = |suffix: &str, file: &str| VolumeProjection {
        secret: Some(SecretProjection { name: owner.named(suffix), items: item(file), optional: None }),
        ..VolumeProjection::default()
    };
    // Optional, so that a server without a certificate starts and reports that it is missing.
    let certificate = owner.endpoint().spec.tls.as_ref().map(|tls| VolumeProjection {
        secret: Some(SecretProjection {
            name: tls.secret_name.clone(),
            items: Some(vec![key(CERTIFICATE_FILE), key(CERTIFICATE_KEY_FILE)]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    });
    let mut sources = vec![
        VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: owner.named(server_config::SUFFIX),
                items: item(CONFIG_FILE),
                optional: None,
            }),
            ..VolumeProjection::default()
        },
        secret(credentials::VERIFIERS_SUFFIX, CLIENTS_FILE),
        secret(keys::SUFFIX, KEYS_FILE),
        secret(login::SUFFIX, LOGIN_FILE),
    ];
    sources.extend(certificate);
    sources
}

/// The memory limit of a server in bytes; `None` without a limit.
pub(super) fn memory(owner: &Owner<'_>) -> Option<u64> {
    quantity::whole(&resources(owner).limits?.get("memory")?.0)
}

fn resources(owner: &Owner<'_>) -> ResourceRequirements {
    let list = |entries: &[(&str, &str)]| {
        Some(entries.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    match &owner.endpoint().spec.deployment.resources {
        Some(given) => quantity::canonical_requirements(given),
        None => ResourceRequirements {
            requests: list(&[("cpu", "20m"), ("memory", "32Mi")]),
            limits: list(&[("memory", "128Mi")]),
            claims: None,
        },
    }
}
