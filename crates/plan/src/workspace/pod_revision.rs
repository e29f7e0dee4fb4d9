//! What a workspace is made by: its template with the parameters filled in, and the agent's image.

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use portcullis_api::{
    WorkspaceTemplateSpec,
    parameters::{ParameterProblem, Values, fill, resolve, substitute},
    template::{Egress, Storage, WorkspacePod},
};
use portcullis_core::quantity::Span;
use serde::{Deserialize, Serialize};

/// What a workspace is made by. What is left of a template that changed, or is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRevision {
    /// What runs; in `command` and `env`, `$` is spelled as Kubernetes wants it where it came from a parameter.
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
    /// Where the agent comes from.
    pub agent_image: String,
    /// Whether its temporary volumes have a size. Those of an older recipe have none: a change would restart what runs.
    #[serde(default)]
    pub sized: bool,
    /// How it is mounted. One of a recipe without it is the oldest.
    #[serde(default)]
    pub layout: Layout,
}

/// How the agent is mounted in the pod. What runs keeps its own, since another one would restart it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One volume for all that is the agent's, which commands can write to. No new one is made so.
    #[default]
    Shared,
    /// The binary is read-only; socket and output are in another volume.
    ReadOnly,
}

impl PodRevision {
    /// What the template makes with these parameters.
    pub fn new(
        template: &WorkspaceTemplateSpec,
        given: &Values,
        agent_image: &str,
    ) -> Result<Self, Vec<ParameterProblem>> {
        let mut filled = fill(template, given)?;
        // A kubelet takes `$(NAME)` in a command or a variable for another variable's value, and `$$` for `$`. What a
        // template says may be meant so; what somebody chose is only text.
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
            sized: true,
            layout: Layout::ReadOnly,
        })
    }

    /// The same with what can change while a workspace runs as the template has it now.
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

    /// The Secrets that its variables are read from.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.pod.env.iter().filter_map(|variable| Some(variable.secret_key_ref.as_ref()?.name.as_str()))
    }

    /// Whether a restart would change nothing, but maybe the agent.
    pub(super) fn makes_the_same_pod_as(&self, other: &Self) -> bool {
        self.pod == other.pod && self.storage.mount_path == other.storage.mount_path && self.layout == other.layout
    }
}
