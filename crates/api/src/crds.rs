//! The CustomResourceDefinitions (Kubernetes API conventions, structural schemas): what `crds/` holds.
//!
//! kube derives them from the types; what is here brings them into the form that Kubernetes' own tools write, so that
//! `kubectl explain` reads well and no client is warned of formats that Kubernetes does not know.

use crate::{McpEndpoint, OAuthAccount, OAuthClient, OAuthGrant, OAuthUser, Workspace, WorkspaceTemplate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// The syntax of a Kubernetes quantity, such as `20m` or `128Mi`; the same pattern as in Kubernetes' own tools.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Why a definition could not be serialized.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The JSON serialization failed.
    #[error("a CustomResourceDefinition could not be serialized as JSON")]
    Json(#[from] serde_json::Error),
    /// The YAML serialization failed.
    #[error("a CustomResourceDefinition could not be serialized as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// Every definition, in the order in which `portcullis crds` prints them.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        of::<McpEndpoint>(),
        of::<OAuthClient>(),
        of::<OAuthGrant>(),
        of::<OAuthUser>(),
        of::<OAuthAccount>(),
        of::<WorkspaceTemplate>(),
        of::<Workspace>(),
    ]
}

/// The definition of one kind.
#[must_use]
pub fn of<K: CustomResourceExt>() -> CustomResourceDefinition {
    tidied(K::crd())
}

/// One definition as a YAML document, as in `crds/PLURAL.yaml`.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, CrdError> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(serde_saphyr::to_string(&value)?)
}

fn tidied(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        tidy(root);
        root.title = None;
        let Some(properties) = root.properties.as_mut() else { continue };
        // The text on the type speaks of the object; derive puts it on the spec.
        if let Some(spec) = properties.get_mut("spec") {
            root.description = spec.description.replace("The desired state.".to_owned());
        }
        // What has no status counts as ready by the rules of kstatus. So it has one from the start, of no generation.
        if let Some(status) = properties.get_mut("status")
            && status.properties.as_ref().is_some_and(|fields| fields.contains_key("observedGeneration"))
        {
            status.default = Some(JSON(json!({"observedGeneration": -1})));
        }
    }
    crd
}

fn tidy(schema: &mut JSONSchemaProps) {
    // Kubernetes drops a null for a field that is not nullable, as if it had been left out; a nullable one keeps it,
    // and rules with has() would take it for a value.
    schema.nullable = None;
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    if schema.x_kubernetes_int_or_string == Some(true)
        && schema.description.as_deref().is_some_and(|text| text.starts_with("Quantity is"))
    {
        schema.description = None;
        schema.pattern = Some(QUANTITY_PATTERN.to_owned());
    }
    if let Some(properties) = schema.properties.as_mut() {
        if properties.contains_key("limits") && properties.contains_key("requests") {
            // Device claims need `resourceClaims` of the pod, which the servers have not.
            properties.remove("claims");
        }
        properties.values_mut().for_each(tidy);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
}

/// Converts numbers without a fraction (`100.0`, `1e3`) to integers, as `kubectl` and API servers do. Limits in
/// definitions have a floating-point type.
pub(super) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().map(|float| format!("{float:.0}").parse::<i64>());
            if let (true, Some(Ok(whole))) = (number.is_f64(), whole)
                && number.to_string() == format!("{whole}.0")
            {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
