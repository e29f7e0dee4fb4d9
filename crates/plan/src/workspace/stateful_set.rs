//! The StatefulSet of a workspace. Its pod has the template's image and the workspace agent, and complies with the
//! *restricted* Pod Security Standard, whatever the template says.

use crate::workspace::{
    CONTAINER, INSTALLER, Layout, POD_REVISION_ANNOTATION, PodRevision, STARTED_AT_ANNOTATION, labels, metadata,
    selector,
};
use crate::{PlanError, client_secret::whole_seconds, pull_secrets, quantity};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
            SeccompProfile, SecretKeySelector, SecurityContext, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use portcullis_api::{
    Workspace,
    template::{EnvVariable, OnDelete, PullPolicy, Resources},
};
use portcullis_core::agent_paths;
use std::collections::BTreeMap;

/// The name of the volume with the home folder.
pub(super) const HOME: &str = "home";
/// The name of the volume with the workspace agent's binary.
const AGENT: &str = "agent";
/// The size limit of each volume of the workspace agent: that of the binary, and that of sockets and output of
/// processes.
const AGENT_SIZE: &str = "1Gi";
/// The name of the volume with the workspace agent's socket and output.
const RUN: &str = "agent-run";
const TEMPORARY: &str = "tmp";
const TEMPORARY_DIR: &str = "/tmp";
/// The termination grace period of the workspace agent in seconds. Within 15 seconds it signals all processes and kills
/// the remaining ones.
const GRACE_SECONDS: i64 = 20;

pub(super) fn stateful_set(
    workspace: &Workspace,
    pod_revision: &PodRevision,
    volume: Option<&(String, Option<String>)>,
    started_at: Option<Timestamp>,
) -> Result<StatefulSet, PlanError> {
    let mut metadata = metadata(workspace);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(POD_REVISION_ANNOTATION.to_owned(), serde_json::to_string(pod_revision)?);
    if let Some(time) = started_at {
        annotations.insert(STARTED_AT_ANNOTATION.to_owned(), whole_seconds(time).to_string());
    }
    let when_deleted = match pod_revision.storage.on_delete {
        OnDelete::Delete => "Delete",
        OnDelete::Retain => "Retain",
    };
    Ok(StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(started_at.is_some().into()),
            selector: selector(workspace),
            // A pod that cannot start must not block its successor from a corrected template.
            pod_management_policy: Some("Parallel".to_owned()),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(when_deleted.to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(workspace)),
                    annotations: Some(
                        [("kubectl.kubernetes.io/default-container".to_owned(), CONTAINER.to_owned())].into(),
                    ),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(pod_revision)),
            },
            volume_claim_templates: Some(vec![claim(workspace, pod_revision, volume)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    })
}

/// The claim template. An existing claim keeps its size and class, since claim templates of a StatefulSet are
/// immutable.
fn claim(
    workspace: &Workspace,
    pod_revision: &PodRevision,
    volume: Option<&(String, Option<String>)>,
) -> PersistentVolumeClaim {
    let storage = &pod_revision.storage;
    let (size, class) = volume.map_or((&storage.size, &storage.storage_class_name), |(size, class)| (size, class));
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(HOME.to_owned()), labels: Some(labels(workspace)), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), amount(size))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn pod(pod_revision: &PodRevision) -> PodSpec {
    let user = pod_revision.pod.run_as_user;
    let template_secrets = pod_revision.pod.image_pull_secrets.iter().map(|secret| &secret.name);
    let run = (pod_revision.layout == Layout::ReadOnly).then_some(RUN);
    let volumes = [Some(AGENT), run, has_temporary(pod_revision).then_some(TEMPORARY)];
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        runtime_class_name: pod_revision.pod.runtime_class_name.clone(),
        node_selector: some(pod_revision.pod.node_selector.clone(), BTreeMap::is_empty),
        tolerations: some(pod_revision.pod.tolerations.clone(), Vec::is_empty),
        image_pull_secrets: pull_secrets::references(template_secrets.chain(&pod_revision.agent_pull_secrets)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            run_as_group: Some(user),
            fs_group: Some(user),
            // Do not change the ownership of every file at each start: a home folder can have many.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        init_containers: Some(vec![installer(pod_revision)]),
        containers: vec![container(pod_revision)],
        volumes: Some(
            volumes
                .into_iter()
                .flatten()
                .map(|name| Volume {
                    name: name.to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: size_limit(pod_revision, name) }),
                    ..Volume::default()
                })
                .collect(),
        ),
        ..PodSpec::default()
    }
}

/// The size at which the pod is evicted for a temporary volume. Without a limit, one workspace could fill its node's
/// disk.
fn size_limit(pod_revision: &PodRevision, volume: &str) -> Option<Quantity> {
    let size = match volume {
        TEMPORARY => amount(&pod_revision.storage.temporary_size),
        _ => Quantity(AGENT_SIZE.to_owned()),
    };
    pod_revision.sized.then_some(size)
}

fn some<T>(value: T, is_empty: impl Fn(&T) -> bool) -> Option<T> {
    (!is_empty(&value)).then_some(value)
}

/// Whether the pod needs a volume at `/tmp`: some images lack this folder, or only root can write to it. Not needed if
/// the home folder is there.
fn has_temporary(pod_revision: &PodRevision) -> bool {
    let home = &pod_revision.storage.mount_path;
    home != TEMPORARY_DIR && !home.starts_with("/tmp/")
}

fn security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// The mounts of the workspace agent in the workspace's container.
fn agent_mounts(pod_revision: &PodRevision) -> Vec<VolumeMount> {
    match pod_revision.layout {
        Layout::Shared => vec![mount(AGENT, agent_paths::INSTALL_DIR)],
        Layout::ReadOnly => vec![
            mount(RUN, agent_paths::INSTALL_DIR),
            VolumeMount {
                sub_path: Some(agent_paths::BINARY_NAME.to_owned()),
                read_only: Some(true),
                ..mount(AGENT, agent_paths::BINARY)
            },
        ],
    }
}

/// The init container that copies the workspace agent into the pod. It has limits because a ResourceQuota may require
/// them of every container.
fn installer(pod_revision: &PodRevision) -> Container {
    let list = |amounts: [(&str, &str); 2]| {
        Some(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    Container {
        name: INSTALLER.to_owned(),
        image: Some(pod_revision.agent_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(agent_paths::INSTALL_ARGUMENTS.map(ToOwned::to_owned).into()),
        resources: Some(ResourceRequirements {
            requests: list([("cpu", "10m"), ("memory", "16Mi")]),
            limits: list([("cpu", "500m"), ("memory", "64Mi")]),
            claims: None,
        }),
        security_context: Some(SecurityContext { read_only_root_filesystem: Some(true), ..security() }),
        volume_mounts: Some(vec![mount(AGENT, agent_paths::INSTALL_DIR)]),
        ..Container::default()
    }
}

fn container(pod_revision: &PodRevision) -> Container {
    let pod = &pod_revision.pod;
    let home = pod_revision.storage.mount_path.as_str();
    let temporary = has_temporary(pod_revision).then(|| mount(TEMPORARY, TEMPORARY_DIR));
    let own = EnvVar { name: agent_paths::HOME_VARIABLE.to_owned(), value: Some(home.to_owned()), value_from: None };
    let others = pod.env.iter().filter(|variable| variable.name != agent_paths::HOME_VARIABLE);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(pod.image.clone()),
        image_pull_policy: Some(pull_policy(pod.image_pull_policy).to_owned()),
        command: Some(agent_paths::RUN_COMMAND.map(ToOwned::to_owned).into()),
        args: some(pod.command.clone(), Vec::is_empty).map(|command| [vec!["--".to_owned()], command].concat()),
        working_dir: Some(home.to_owned()),
        env: Some([own].into_iter().chain(others.map(variable)).collect()),
        resources: Some(resources(&pod.resources)),
        security_context: Some(security()),
        volume_mounts: Some(
            [mount(HOME, home)].into_iter().chain(agent_mounts(pod_revision)).chain(temporary).collect(),
        ),
        ..Container::default()
    }
}

fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Always => "Always",
        PullPolicy::Never => "Never",
    }
}

fn variable(given: &EnvVariable) -> EnvVar {
    EnvVar {
        name: given.name.clone(),
        // The API server omits empty values.
        value: given.value.clone().filter(|value| !value.is_empty()),
        value_from: given.secret_key_ref.as_ref().map(|secret| EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.name.clone(),
                key: secret.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn resources(given: &Resources) -> ResourceRequirements {
    let list = |amounts: &BTreeMap<String, String>| {
        some(amounts.iter().map(|(name, text)| (name.clone(), amount(text))).collect(), BTreeMap::is_empty)
    };
    ResourceRequirements { requests: list(&given.requests), limits: list(&given.limits), claims: None }
}

fn amount(text: &str) -> Quantity {
    Quantity(quantity::canonical(text))
}
