//! Compares the served custom resource definitions with those of the operator's version.
//!
//! An API server refuses a status with an unknown field, and answers "404 page not found" for an unknown kind. So the
//! definitions are compared with those of this build at the start, and again while the operator runs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::{Api, Client, ResourceExt as _};
use portcullis_api::crds;
use portcullis_core::report::chain;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;

/// How often to read them while they are up to date.
const CHECK: Duration = Duration::from_mins(5);
/// How often to read them while they are not.
const RECHECK: Duration = Duration::from_secs(5);
/// The maximum number of fields in a message.
const SHOWN_GAPS: usize = 5;
const REMEDY: &str = "apply those of the operator's version: helm upgrade with crds.install=true, or kubectl apply \
                      --server-side -k deploy/";

/// The state of the served definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DefinitionsState {
    /// Nothing is known yet.
    #[default]
    Unread,
    /// The operator has no permission to read them.
    Unreadable,
    /// They have everything that this build needs.
    Current,
    /// These definitions are missing.
    Missing(Vec<String>),
    /// They lack fields.
    Outdated(Outdated),
}

/// The gaps in older definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outdated {
    /// Each with the name of its definition.
    gaps: Vec<String>,
    /// The schema of the status of each kind, as it is served.
    statuses: BTreeMap<String, JSONSchemaProps>,
}

impl DefinitionsState {
    /// What is wrong and what to do about it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Unread | Self::Unreadable | Self::Current => None,
            Self::Missing(names) => {
                Some(format!("install the custom resource definitions: {} missing; {REMEDY}", are(names)))
            }
            Self::Outdated(Outdated { gaps, .. }) => {
                let more = gaps.len().saturating_sub(SHOWN_GAPS);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let shown = gaps.iter().take(SHOWN_GAPS).map(String::as_str).collect::<Vec<_>>().join(", ");
                Some(format!("upgrade the custom resource definitions: they lack {shown}{more}; {REMEDY}"))
            }
        }
    }

    /// Whether there is something to reconcile.
    fn is_served(&self) -> bool {
        !matches!(self, Self::Unread | Self::Missing(_))
    }
}

fn are(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// The state of the served definitions, as last read.
#[derive(Debug, Default)]
pub struct Definitions(watch::Sender<DefinitionsState>);

impl Definitions {
    /// The state of the served definitions.
    #[must_use]
    pub fn state(&self) -> DefinitionsState {
        self.0.borrow().clone()
    }

    /// What is wrong with them and what to do about it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.0.borrow().problem()
    }

    /// Reads the definitions periodically. Never completes; drop it to stop.
    pub async fn follow(&self, client: &Client) {
        loop {
            match read(client).await {
                Ok(state) => self.take(state),
                Err(kube::Error::Api(status)) if status.code == 403 => self.take(DefinitionsState::Unreadable),
                // Other requests report it too.
                Err(error) => tracing::debug!(error = chain(&error), "the custom resource definitions cannot be read"),
            }
            let fine = matches!(*self.0.borrow(), DefinitionsState::Current | DefinitionsState::Unreadable);
            tokio::time::sleep(if fine { CHECK } else { RECHECK }).await;
        }
    }

    fn take(&self, state: DefinitionsState) {
        let problem = state.problem();
        let changed = self.0.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
        if !changed {
            return;
        }
        match (problem, &*self.0.borrow()) {
            (Some(problem), _) => tracing::error!("{problem}"),
            (None, DefinitionsState::Unreadable) => tracing::warn!(
                "the operator has no permission to read the custom resource definitions, so it cannot compare their version with its own; \
                 apply the ClusterRole portcullis-operator-cluster of its version"
            ),
            (None, _) => tracing::info!("the custom resource definitions are as new as the operator"),
        }
    }

    /// Completes once the kinds are served.
    pub async fn served(&self) {
        // The sender is this value's own, so it does not end before.
        let _ = self.0.subscribe().wait_for(DefinitionsState::is_served).await;
    }

    /// Completes once the state differs from `seen`.
    pub async fn changed_from(&self, seen: &DefinitionsState) {
        let _ = self.0.subscribe().wait_for(|state| state != seen).await;
    }

    /// A status without the fields that the served definition lacks.
    #[must_use]
    pub fn reduced(&self, kind: &str, mut status: Value) -> Value {
        if let DefinitionsState::Outdated(Outdated { statuses, .. }) = &*self.0.borrow()
            && let Some(schema) = statuses.get(kind)
        {
            keep_declared(&mut status, schema);
        }
        status
    }
}

async fn read(client: &Client) -> Result<DefinitionsState, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let (mut missing, mut outdated) = (Vec::new(), Outdated::default());
    for own in crds::all() {
        match api.get_opt(&own.name_any()).await? {
            Some(served) if is_established(&served) => outdated.compare(&own, &served),
            _ => missing.push(own.name_any()),
        }
    }
    Ok(match (missing.is_empty(), outdated.gaps.is_empty()) {
        (false, _) => DefinitionsState::Missing(missing),
        (true, false) => DefinitionsState::Outdated(outdated),
        (true, true) => DefinitionsState::Current,
    })
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

impl Outdated {
    /// Adds the gaps of the served definition.
    fn compare(&mut self, own: &CustomResourceDefinition, served: &CustomResourceDefinition) {
        let name = own.name_any();
        for version in &own.spec.versions {
            let Some(found) = served.spec.versions.iter().find(|found| found.name == version.name && found.served)
            else {
                self.gaps.push(format!("{} of {name}", version.name));
                continue;
            };
            let mut gaps = Vec::new();
            if let (Some(wanted), Some(served)) = (schema(version), schema(found)) {
                lacking(wanted, served, "", &mut gaps);
                let status = served.properties.as_ref().and_then(|fields| fields.get("status"));
                self.statuses.extend(status.map(|status| (own.spec.names.kind.clone(), status.clone())));
            }
            gaps.extend(lacking_subresources(version, found));
            self.gaps.extend(gaps.into_iter().map(|gap| format!("{gap} of {name}")));
        }
    }
}

fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// The fields and enum values in `own` that `served` lacks.
fn lacking(own: &JSONSchemaProps, served: &JSONSchemaProps, path: &str, gaps: &mut Vec<String>) {
    if served.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    for (name, field) in own.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match served.properties.as_ref().and_then(|fields| fields.get(name)) {
            Some(served) => lacking(field, served, &path, gaps),
            None => gaps.push(path),
        }
    }
    for value in own.enum_.iter().flatten() {
        if served.enum_.as_ref().is_some_and(|values| !values.contains(value)) {
            gaps.push(format!("{path} {}", value.0));
        }
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(own)), Some(JSONSchemaPropsOrArray::Schema(served))) =
        (&own.items, &served.items)
    {
        lacking(own, served, &format!("{path}[]"), gaps);
    }
    if let (Some(JSONSchemaPropsOrBool::Schema(own)), Some(JSONSchemaPropsOrBool::Schema(served))) =
        (&own.additional_properties, &served.additional_properties)
    {
        lacking(own, served, &format!("{path}.*"), gaps);
    }
}

fn lacking_subresources(
    own: &CustomResourceDefinitionVersion,
    served: &CustomResourceDefinitionVersion,
) -> Vec<String> {
    let has = |version: &CustomResourceDefinitionVersion| {
        let subresources = version.subresources.as_ref();
        [
            subresources.is_some_and(|subresources| subresources.status.is_some()),
            subresources.is_some_and(|subresources| subresources.scale.is_some()),
        ]
    };
    let (own, served) = (has(own), has(served));
    let names = ["subresource status", "subresource scale"];
    (0..2).filter(|&index| own[index] && !served[index]).map(|index| names[index].to_owned()).collect()
}

/// Removes fields that the schema does not declare.
fn keep_declared(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = &schema.properties else { return };
            fields.retain(|name, _| properties.contains_key(name));
            for (name, field) in fields {
                if let Some(schema) = properties.get(name) {
                    keep_declared(field, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for item in items {
                    keep_declared(item, schema);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_api::McpEndpoint;
    use serde_json::json;

    /// The definition of endpoints, changed.
    fn edited(edit: impl Fn(&mut CustomResourceDefinition, &mut BTreeMap<String, JSONSchemaProps>)) -> Outdated {
        let own = crds::of::<McpEndpoint>();
        let mut served = own.clone();
        let root = served.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        let mut fields = root.properties.take().unwrap();
        edit(&mut served, &mut fields);
        if let Some(version) = served.spec.versions.first_mut() {
            version.schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap().properties = Some(fields);
        }
        let mut outdated = Outdated::default();
        outdated.compare(&own, &served);
        outdated
    }

    fn inside<'a>(
        fields: &'a mut BTreeMap<String, JSONSchemaProps>,
        path: &[&str],
    ) -> &'a mut BTreeMap<String, JSONSchemaProps> {
        path.iter().fold(fields, |fields, name| fields.get_mut(*name).unwrap().properties.as_mut().unwrap())
    }

    #[test]
    fn definitions_that_lack_something_are_outdated_and_those_with_more_are_not() {
        type Edit = fn(&mut CustomResourceDefinition, &mut BTreeMap<String, JSONSchemaProps>);
        let rows: [(&[&str], Edit); 7] = [
            (&[], |_, _| {}),
            (&[], |_, fields| {
                inside(fields, &["spec", "limits"]).insert("fromTheFuture".to_owned(), JSONSchemaProps::default());
            }),
            (&["spec.limits.maxConnections of mcpendpoints.portcullis.dev"], |_, fields| {
                inside(fields, &["spec", "limits"]).remove("maxConnections").unwrap();
            }),
            (
                &["status.issuer of mcpendpoints.portcullis.dev", "status.url of mcpendpoints.portcullis.dev"],
                |_, fields| {
                    inside(fields, &["status"]).retain(|name, _| name != "issuer" && name != "url");
                },
            ),
            (&["spec.cors.enforcedBy \"Gateway\" of mcpendpoints.portcullis.dev"], |_, fields| {
                let values = inside(fields, &["spec", "cors"]).get_mut("enforcedBy").unwrap().enum_.as_mut().unwrap();
                values.retain(|value| value.0 != "Gateway");
            }),
            (&["subresource scale of mcpendpoints.portcullis.dev"], |served, _| {
                served.spec.versions[0].subresources.as_mut().unwrap().scale = None;
            }),
            (&["v1alpha1 of mcpendpoints.portcullis.dev"], |served, _| {
                served.spec.versions.clear();
            }),
        ];
        for (gaps, edit) in rows {
            assert_eq!(edited(edit).gaps, gaps);
        }
    }

    #[test]
    fn a_message_names_what_is_lacking_and_the_remedy() {
        let gaps = (0..7).map(|number| format!("spec.a{number} of x")).collect();
        let state = DefinitionsState::Outdated(Outdated { gaps, statuses: BTreeMap::new() });
        let message = state.problem().unwrap();
        assert!(message.starts_with("upgrade the custom resource definitions: they lack spec.a0 of x, "), "{message}");
        assert!(message.contains("spec.a4 of x and 2 more; apply those of the operator's version"), "{message}");
        let message = DefinitionsState::Missing(vec!["mcpendpoints.portcullis.dev".to_owned()]).problem().unwrap();
        assert!(
            message
                .starts_with("install the custom resource definitions: mcpendpoints.portcullis.dev is missing; apply")
        );
        assert_eq!(DefinitionsState::Unreadable.problem(), None);
    }

    #[test]
    fn a_status_is_written_as_far_as_it_is_known() {
        let outdated = edited(|_, fields| {
            inside(fields, &["status"]).remove("issuer").unwrap();
        });
        let definitions = Definitions::default();
        let status =
            json!({"issuer": "https://a", "url": "https://a/mcp", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(definitions.reduced("McpEndpoint", status.clone()), status, "nothing is known");
        definitions.take(DefinitionsState::Outdated(outdated));
        let reduced = json!({"url": "https://a/mcp", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(definitions.reduced("McpEndpoint", status.clone()), reduced);
        assert_eq!(definitions.reduced("Workspace", status.clone()), status);
        definitions.take(DefinitionsState::Current);
        assert_eq!(definitions.reduced("McpEndpoint", status.clone()), status);
    }
}
