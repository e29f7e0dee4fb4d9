//! The views of `Workspace`s and `WorkspaceTemplate`s for agents. Built once for each watch event, so requests only
//! copy them.

use crate::{Status, Template, Workspace};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use portcullis_api::{
    Workspace as Object, WorkspaceTemplate, WorkspaceTemplateSpec,
    version::resource_version,
    workspace::{Phase, WorkspaceStatus},
};

/// Reasons for not being ready that may resolve by themselves.
const PASSING: [&str; 5] = ["Starting", "Stopping", "Stopped", "Unschedulable", "VolumePending"];

/// A workspace in the index.
#[derive(Clone, Debug)]
pub(super) struct WorkspaceEntry {
    /// The view for users. The home folder is empty until the first start.
    pub view: Workspace,
    /// The id of its owner.
    pub owner: String,
    /// The UID, which distinguishes the workspace from a later one of the same name.
    pub uid: String,
    /// The name of its pod, which exists only while the workspace runs.
    pub pod: String,
    /// Whether it should run (`spec.running`).
    pub running: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its status will not change without intervention.
    pub settled: bool,
    version: u64,
}

impl WorkspaceEntry {
    /// The entry of `object`.
    pub(super) fn of(object: Object) -> Self {
        let deleting = object.metadata.deletion_timestamp.is_some();
        let found = object.status.clone().unwrap_or_default();
        let current =
            object.metadata.generation.is_none_or(|now| found.observed_generation.is_some_and(|seen| seen >= now));
        let status = if deleting { Status::Stopping } else { status(object.spec.running, found.phase, current) };
        let ready = found.conditions.iter().find(|condition| condition.type_ == "Ready").filter(|_| current);
        let hopeless = ready.is_some_and(|ready| ready.status == "False" && !PASSING.contains(&&*ready.reason));
        let at_rest = matches!(status, Status::Running | Status::Stopped | Status::Failed);
        let problem = problem(status, deleting, ready);
        Self {
            deleting,
            settled: !deleting && current && (at_rest || hopeless),
            owner: object.spec.owner.id.clone(),
            uid: object.uid().unwrap_or_default(),
            pod: found.pod_name.clone().unwrap_or_else(|| format!("workspace-{}-0", object.name_any())),
            running: object.spec.running,
            version: resource_version(&object).unwrap_or_default(),
            view: view(object, status, problem, found),
        }
    }

    /// A copy of the entry whose last activity is `at`, unless a later one is known.
    pub(super) fn worked_in(&self, at: Timestamp) -> Self {
        let mut entry = self.clone();
        entry.view.last_activity = entry.view.last_activity.max(Some(at));
        entry
    }
}

fn view(object: Object, status: Status, problem: Option<String>, found: WorkspaceStatus) -> Workspace {
    let created_at = object.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let owner = object.spec.owner;
    Workspace {
        id: object.metadata.name.unwrap_or_default(),
        name: object.spec.display_name,
        template: object.spec.template_ref.name,
        status,
        problem,
        owner: if owner.name.is_empty() { owner.id.clone() } else { owner.name },
        owner_id: owner.id,
        outdated: found.outdated,
        parameters: object.spec.parameters,
        home: found.home.unwrap_or_default(),
        created_at,
        last_activity: found.last_activity,
        expires_at: found.expires_at,
    }
}

/// The status that the operator reported. If the operator has not observed the latest spec, the status that follows
/// from it.
fn status(running: bool, phase: Option<Phase>, current: bool) -> Status {
    match (running, phase) {
        (true, Some(Phase::Stopped | Phase::Stopping)) if !current => Status::Starting,
        (false, Some(Phase::Running | Phase::Starting | Phase::Failed)) if !current => Status::Stopping,
        (true, None) | (_, Some(Phase::Starting)) => Status::Starting,
        (_, Some(Phase::Running)) => Status::Running,
        (_, Some(Phase::Stopping)) => Status::Stopping,
        (false, None) | (_, Some(Phase::Stopped)) => Status::Stopped,
        (_, Some(Phase::Failed)) => Status::Failed,
    }
}

fn problem(status: Status, deleting: bool, ready: Option<&Condition>) -> Option<String> {
    if deleting {
        return Some("it is being deleted, which takes a few seconds".to_owned());
    }
    if status == Status::Running {
        return None;
    }
    if let Some(ready) = ready.filter(|ready| ready.status == "False" && !ready.message.is_empty()) {
        return Some(ready.message.clone());
    }
    let said = match status {
        Status::Running => return None,
        Status::Starting => "it is being started; call get_workspace again in a few seconds",
        Status::Stopping => "it is being stopped; call start_workspace to start it again",
        Status::Stopped => "it is stopped; call start_workspace",
        Status::Failed => {
            "it is not running for an unknown reason; call restart_workspace, and workspace_logs if that does not help"
        }
    };
    Some(said.to_owned())
}

impl portcullis_reflector::Indexed for WorkspaceEntry {
    #[expect(clippy::misnamed_getters, reason = "the object's name is what agents call the id")]
    fn name(&self) -> &str {
        &self.view.id
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn user(&self) -> Option<&str> {
        Some(&self.owner)
    }

    fn order(&self) -> &str {
        &self.view.name
    }
}

/// A template in the index.
#[derive(Clone, Debug)]
pub(super) struct TemplateEntry {
    /// The view for agents.
    pub view: Template,
    /// The complete spec.
    pub spec: WorkspaceTemplateSpec,
    version: u64,
}

impl TemplateEntry {
    /// The entry of `object`.
    pub(super) fn of(object: WorkspaceTemplate) -> Self {
        let (name, version) = portcullis_reflector::identity(&object);
        let spec = object.spec;
        Self { view: Template::of(&name, &spec), spec, version: version.unwrap_or_default() }
    }
}

impl portcullis_reflector::Indexed for TemplateEntry {
    fn name(&self) -> &str {
        &self.view.name
    }

    fn version(&self) -> u64 {
        self.version
    }

    /// The same user for all templates, so that the index sorts them.
    fn user(&self) -> Option<&str> {
        Some("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(running: bool, generation: i64, status: &Value) -> WorkspaceEntry {
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "ws-1", "uid": "u", "resourceVersion": "7", "generation": generation},
            "spec": {"endpointRef": {"name": "agents"}, "owner": {"id": "local:ann", "name": "ann"},
                "displayName": "web", "templateRef": {"name": "node"}, "running": running},
            "status": status,
        });
        WorkspaceEntry::of(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_status_is_what_was_found_or_what_will_be_done() {
        use Status::{Failed, Running, Starting, Stopped, Stopping};
        for (running, generation, phase, expected, settled) in [
            (true, 1, json!({}), Starting, false),
            (true, 1, json!({"observedGeneration": 1, "phase": "Starting"}), Starting, false),
            (true, 1, json!({"observedGeneration": 1, "phase": "Running"}), Running, true),
            (true, 1, json!({"observedGeneration": 1, "phase": "Failed"}), Failed, true),
            (false, 2, json!({"observedGeneration": 1, "phase": "Running"}), Stopping, false),
            (false, 2, json!({"observedGeneration": 2, "phase": "Stopping"}), Stopping, false),
            (false, 2, json!({"observedGeneration": 2, "phase": "Stopped"}), Stopped, true),
            (true, 3, json!({"observedGeneration": 2, "phase": "Stopped"}), Starting, false),
            (true, 3, json!({"observedGeneration": 2, "phase": "Running"}), Running, false),
        ] {
            let found = entry(running, generation, &phase);
            assert_eq!((found.view.status, found.settled), (expected, settled), "{running} {generation} {phase}");
            assert_eq!(found.view.problem.is_none(), expected == Running, "{phase}");
        }
    }

    #[test]
    fn what_will_not_pass_by_itself_is_worth_no_waiting() {
        for (reason, settled) in [("Starting", false), ("Unschedulable", false), ("ImagePullFailed", true)] {
            let condition = json!({
                "type": "Ready", "status": "False", "reason": reason, "message": "what to do",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let status = json!({"observedGeneration": 1, "phase": "Starting", "conditions": [condition]});
            let found = entry(true, 1, &status);
            assert_eq!((found.settled, found.view.problem.as_deref()), (settled, Some("what to do")), "{reason}");
            let outdated = entry(true, 2, &status);
            assert!(!outdated.settled && outdated.view.problem.as_deref() != Some("what to do"), "of an older wish");
        }
    }
}
