//! The pod revision of a workspace: its template with the parameters filled in, and the agent's image.

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use portcullis_api::{
    WorkspaceTemplateSpec,
    parameters::{ParameterProblem, Values, fill, resolve, substitute},
    template::{Egress, Storage, WorkspacePod},
};
use portcullis_core::quantity::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A pod revision. It keeps the template's values after the template was changed or deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRevision {
    /// The pod. In `command` and `env`, a `$` from a parameter is escaped for Kubernetes.
    pub pod: WorkspacePod,
    /// The home folder.
    pub storage: Storage,
    /// See [`WorkspaceTemplateSpec::egress`].
    pub egress: Egress,
    /// See [`WorkspaceTemplateSpec::egress_rules`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress_rules: Vec<NetworkPolicyEgressRule>,
    /// See [`WorkspaceTemplateSpec::idle_stop`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_stop: Option<Span>,
    /// See [`WorkspaceTemplateSpec::time_to_live`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<Span>,
    /// The image with the workspace agent.
    pub agent_image: String,
    /// The Secrets with registry credentials for the agent's image.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub agent_pull_secrets: BTreeSet<String>,
    /// Whether the temporary volumes have a size limit. Older revisions have none: a change would restart the pod.
    #[serde(default)]
    pub sized: bool,
    /// How the workspace agent is mounted. A revision without this field has the oldest layout.
    #[serde(default)]
    pub layout: Layout,
}

/// How the workspace agent is mounted in the pod. A running pod keeps its layout, since a change would restart it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One volume for all files of the workspace agent, which commands can write to. Not used for new pods.
    #[default]
    Shared,
    /// The binary is read-only; the socket and the output are in another volume.
    ReadOnly,
}

impl PodRevision {
    /// The revision from a template and these parameters.
    pub fn new(
        template: &WorkspaceTemplateSpec,
        given: &Values,
        agent_image: &str,
        agent_pull_secrets: &BTreeSet<String>,
    ) -> Result<Self, Vec<ParameterProblem>> {
        let mut filled = fill(template, given)?;
        // A kubelet replaces `$(NAME)` in a command or a variable with the value of a variable, and `$$` with `$`.
        // Templates may use this syntax, but values of parameters are plain text.
        let spelled = resolve(&template.parameters, given)?.into_iter();
        let spelled: Values = spelled.map(|(name, value)| (name, value.replace('$', "$$"))).collect();
        let spell = |text: &mut String| -> Result<(), Vec<ParameterProblem>> {
            *text = substitute(text, &spelled).map_err(|problem| vec![problem])?;
            Ok(())
        };
        filled.pod.command.clone_from(&template.pod.command);
        filled.pod.env.clone_from(&template.pod.env);
        filled.pod.command.iter_mut().try_for_each(spell)?;
        filled.pod.env.iter_mut().filter_map(|variable| variable.value.as_mut()).try_for_each(spell)?;
        Ok(Self {
            pod: filled.pod,
            storage: filled.storage,
            egress: filled.egress,
            egress_rules: filled.egress_rules,
            idle_stop: filled.idle_stop,
            time_to_live: filled.time_to_live,
            agent_image: agent_image.to_owned(),
            agent_pull_secrets: agent_pull_secrets.clone(),
            sized: true,
            layout: Layout::ReadOnly,
        })
    }

    /// This revision with the template's current values of the fields that can change while a workspace runs.
    #[must_use]
    pub(super) fn following(self, template: &WorkspaceTemplateSpec) -> Self {
        Self {
            storage: Storage { on_delete: template.storage.on_delete, ..self.storage },
            egress: template.egress,
            egress_rules: template.egress_rules.clone(),
            idle_stop: template.idle_stop,
            time_to_live: template.time_to_live,
            ..self
        }
    }

    /// The names of the Secrets in its environment variables.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.pod.env.iter().filter_map(|variable| Some(variable.secret_key_ref.as_ref()?.name.as_str()))
    }

    /// Whether a restart would change nothing, except possibly the workspace agent.
    pub(super) fn makes_the_same_pod_as(&self, other: &Self) -> bool {
        self.pod == other.pod && self.storage.mount_path == other.storage.mount_path && self.layout == other.layout
    }
}
