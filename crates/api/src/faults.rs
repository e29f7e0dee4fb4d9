//! Faults of a template that admission cannot find: patterns that do not compile, references to parameters that the
//! template does not have, defaults that their own parameter refuses. Pure; the operator reports them in the template's
//! status, and `portcullis dev` with file and line.

use crate::{
    parameters::{OPEN, check, is_image},
    template::{ParameterType, WorkspaceTemplateSpec},
};
use portcullis_core::nearest::suggestion;
use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path in the manifest, such as `spec.pod.env[0].value`.
    pub field: String,
    /// The problem and its remedy.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Every fault of a template.
#[must_use]
pub fn faults(template: &WorkspaceTemplateSpec) -> Vec<Fault> {
    let mut found = Vec::new();
    for (index, parameter) in template.parameters.iter().enumerate() {
        let field = |name: &str| format!("spec.parameters[{index}].{name}");
        if let (ParameterType::String, Some(pattern)) = (parameter.kind, &parameter.pattern)
            && let Err(problem) = super::parameters::compile(pattern)
        {
            found.push(Fault { field: field("pattern"), message: format!("{problem}; correct the expression") });
        } else if let Some(default) = &parameter.default
            && let Err(problem) = check(parameter, default)
        {
            found.push(Fault { field: field("default"), message: format!("{problem}; correct the default") });
        }
    }
    let names: Vec<&str> = template.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    for (field, text) in texts(template) {
        found.extend(unresolved(text, &names).into_iter().map(|message| Fault { field: field.clone(), message }));
    }
    let image = &template.pod.image;
    if !image.contains(OPEN) && !is_image(image) {
        let message = format!("{image:?} is not an image reference; remove the white space");
        found.push(Fault { field: "spec.pod.image".to_owned(), message });
    }
    found
}

/// Every text in which `$(parameters.NAME)` is substituted, with its path.
fn texts(template: &WorkspaceTemplateSpec) -> Vec<(String, &str)> {
    let pod = &template.pod;
    let mut texts = vec![("spec.pod.image".to_owned(), pod.image.as_str())];
    texts.extend(
        pod.command.iter().enumerate().map(|(index, word)| (format!("spec.pod.command[{index}]"), word.as_str())),
    );
    texts.extend(
        pod.env
            .iter()
            .enumerate()
            .filter_map(|(index, variable)| Some((format!("spec.pod.env[{index}].value"), variable.value.as_deref()?))),
    );
    for (list, amounts) in [("requests", &pod.resources.requests), ("limits", &pod.resources.limits)] {
        let amounts = amounts.iter();
        texts.extend(amounts.map(|(name, amount)| (format!("spec.pod.resources.{list}.{name}"), amount.as_str())));
    }
    texts.push(("spec.storage.size".to_owned(), &template.storage.size));
    texts
}

/// What is wrong with the references in a text.
fn unresolved(text: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for reference in text.split(OPEN).skip(1) {
        match reference.split_once(')') {
            None => found.push(format!("{OPEN} has no closing parenthesis; write {OPEN}NAME)")),
            Some((name, _)) if names.contains(&name) => {}
            Some((name, _)) => {
                let near = suggestion(name, names.iter().copied());
                let remedy = match (near.is_empty(), names) {
                    (false, _) => near,
                    (true, []) => "; the template has none: add it to spec.parameters".to_owned(),
                    (true, names) => format!("; add it to spec.parameters, or use one of {}", names.join(", ")),
                };
                found.push(format!("parameter {name:?} does not exist{remedy}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(spec: Value) -> Vec<String> {
        faults(&serde_json::from_value(spec).unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_template_without_faults_has_none() {
        let spec = json!({
            "parameters": [
                {"name": "tz", "pattern": "[A-Za-z/]+", "default": "Etc/UTC"}, {"name": "size"},
                {"name": "workers", "type": "integer", "maximum": 8, "default": "8"},
            ],
            "pod": {
                "image": "debian:$(parameters.tz)", "command": ["serve", "$(HOME)", "a$(parameters.workers)$(parameters.tz)"],
                "env": [{"name": "TZ", "value": "$(parameters.tz)"}, {"name": "S", "secretKeyRef": {"name": "s", "key": "k"}}],
                "resources": {"limits": {"memory": "$(parameters.size)", "cpu": "1"}},
            },
            "storage": {"size": "$(parameters.size)"},
        });
        assert_eq!(found(spec), Vec::<String>::new());
    }

    #[test]
    fn references_to_parameters_that_are_not_there_are_found_wherever_they_stand() {
        let pod = |field: &str, value: Value| {
            let mut spec = json!({"parameters": [{"name": "timezone"}], "pod": {"image": "debian"}});
            spec["pod"][field] = value;
            spec
        };
        let near = "parameter \"timezon\" does not exist; did you mean timezone?";
        let mut storage = pod("command", json!([]));
        storage["storage"] = json!({"size": "$(parameters.timezon)"});
        for (spec, field, says) in [
            (pod("image", json!("debian:$(parameters.timezon)")), "image", near),
            (pod("command", json!(["a", "b$(parameters.timezon)"])), "command[1]", near),
            (pod("env", json!([{"name": "A", "value": "$(parameters.timezon)"}])), "env[0].value", near),
            (pod("resources", json!({"requests": {"cpu": "$(parameters.timezon)"}})), "resources.requests.cpu", near),
            (pod("resources", json!({"limits": {"cpu": "$(parameters.timezon)"}})), "resources.limits.cpu", near),
            (storage, "../storage.size", near),
            (
                pod("env", json!([{"name": "A", "value": "$(parameters.x)"}])),
                "env[0].value",
                "parameter \"x\" does not exist; add it to spec.parameters, or use one of timezone",
            ),
            (
                pod("command", json!(["$(parameters.timezone"])),
                "command[0]",
                "$(parameters. has no closing parenthesis; write $(parameters.NAME)",
            ),
            (
                json!({"pod": {"image": "a:$(parameters.tz)"}}),
                "image",
                "parameter \"tz\" does not exist; the template has none: add it to spec.parameters",
            ),
            (pod("image", json!("a b")), "image", "\"a b\" is not an image reference; remove the white space"),
        ] {
            let field = field.strip_prefix("../").map_or_else(|| format!("pod.{field}"), ToOwned::to_owned);
            assert_eq!(found(spec), [format!("spec.{field}: {says}")]);
        }
        let two = found(pod("command", json!(["$(parameters.a)$(parameters.b)"])));
        assert_eq!(two.len(), 2, "each is named: {two:?}");
    }

    #[test]
    fn parameters_that_no_value_or_their_own_default_fits_are_found() {
        let parameter = |parameter: Value| json!({"parameters": [parameter], "pod": {"image": "a"}});
        let long = "(a{1000}){1000}";
        for (spec, begins, contains) in [
            (
                parameter(json!({"name": "tz", "pattern": "[a-z"})),
                "spec.parameters[0].pattern: \"[a-z\" is not a regular expression: ",
                "unclosed character class",
            ),
            (
                parameter(json!({"name": "tz", "pattern": "a)|(b", "default": "a"})),
                "spec.parameters[0].pattern: \"a)|(b\" is not a regular expression: ",
                "unopened group",
            ),
            (
                parameter(json!({"name": "tz", "pattern": long})),
                "spec.parameters[0].pattern: ",
                "takes too much memory",
            ),
            (
                parameter(json!({"name": "tz", "pattern": "[a-z]+", "default": "UTC"})),
                "spec.parameters[0].default: ",
                "cannot be \"UTC\"; it must match [a-z]+ as a whole; correct the default",
            ),
            (
                parameter(json!({"name": "n", "type": "integer", "maximum": 4, "default": "5"})),
                "spec.parameters[0].default: ",
                "a whole number of at most 4",
            ),
        ] {
            let found = found(spec);
            assert!(matches!(&*found, [one] if one.starts_with(begins) && one.contains(contains)), "{found:?}");
            assert!(!found[0].contains('\n'), "a condition's message is one line: {found:?}");
        }
    }
}
