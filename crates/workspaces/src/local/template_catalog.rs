//! The catalog of templates on this machine: the templates of the manifests, and always `blank`. Only the parameters
//! and the environment of a template apply here; the image, resources and egress apply only in clusters.

use crate::{Error, Template};
use k8s_openapi::api::core::v1::Secret;
use portcullis_api::{
    WorkspaceTemplate, WorkspaceTemplateSpec,
    parameters::{self, Values},
    template::EnvVariable,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
};

/// The template that always exists.
const BLANK: &str = "blank";

/// Environment variables of a workspace's commands.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// The templates, and the Secrets that their environment can refer to.
#[derive(Default)]
pub(super) struct TemplateCatalog {
    templates: BTreeMap<String, WorkspaceTemplateSpec>,
    /// The values of Secrets, by the name of the Secret and the key.
    secrets: BTreeMap<(String, String), Vec<u8>>,
}

impl TemplateCatalog {
    pub(super) fn new(templates: &[WorkspaceTemplate], secrets: &[Secret]) -> Self {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let templates = templates.iter().map(|template| (name(&template.metadata.name), template.spec.clone()));
        let keys = secrets.iter().flat_map(|secret| {
            let of = name(&secret.metadata.name);
            let data = secret.data.iter().flatten();
            data.map(move |(key, value)| ((of.clone(), key.clone()), value.0.clone()))
        });
        Self { templates: templates.collect(), secrets: keys.collect() }
    }

    /// The views of all templates, sorted by name.
    pub(super) fn templates(&self) -> Vec<Template> {
        let mut all: Vec<Template> = self.templates.iter().map(|(name, spec)| Template::of(name, spec)).collect();
        if !self.templates.contains_key(BLANK) {
            all.push(blank());
            all.sort_by(|a, b| a.name.cmp(&b.name));
        }
        all
    }

    /// The environment variables that a template sets for commands in a workspace with these parameters.
    pub(super) fn variables(&self, template: &str, given: &Values) -> Result<Variables, Error> {
        let spec = match self.templates.get(template) {
            Some(spec) => spec,
            None if template == BLANK => {
                parameters::resolve(&[], given).map_err(|problems| Error::unfit(template, problems))?;
                return Ok(Vec::new());
            }
            None => {
                let existing: BTreeSet<&str> = self.templates.keys().map(String::as_str).chain([BLANK]).collect();
                let existing = existing.into_iter().map(str::to_owned).collect();
                return Err(Error::UnknownTemplate { wanted: template.to_owned(), existing });
            }
        };
        let filled = parameters::fill(spec, given).map_err(|problems| Error::unfit(template, problems))?;
        filled.pod.env.into_iter().map(|variable| self.variable(template, variable)).collect()
    }

    fn variable(&self, template: &str, variable: EnvVariable) -> Result<(OsString, OsString), Error> {
        let value = match variable.secret_key_ref {
            None => variable.value.unwrap_or_default().into(),
            Some(key) => {
                let found = self.secrets.get(&(key.name.clone(), key.key.clone()));
                OsString::from_vec(found.cloned().ok_or_else(|| Error::InvalidParameter {
                    problem: format!(
                        "template {template:?} takes {} from the key {:?} of the Secret {:?}, which is not in the manifests; add it",
                        variable.name, key.key, key.name
                    ),
                })?)
            }
        };
        Ok((variable.name.into(), value))
    }
}

fn blank() -> Template {
    Template {
        name: BLANK.to_owned(),
        display_name: "Blank".to_owned(),
        description: "An empty folder; commands run with this machine's own tools.".to_owned(),
        parameters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn catalog() -> TemplateCatalog {
        let object = |value: Value| serde_json::from_value(value).unwrap();
        let node = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "node"},
            "spec": {
                "displayName": "Node", "description": "JavaScript",
                "parameters": [{"name": "mode", "type": "enum", "options": ["test", "live"], "default": "test"}],
                "pod": {"image": "node:24", "env": [
                    {"name": "NODE_ENV", "value": "$(parameters.mode)!"},
                    {"name": "TOKEN", "secretKeyRef": {"name": "npm", "key": "token"}},
                ]},
            },
        });
        let secret = json!({"metadata": {"name": "npm"}, "data": {"token": "aHVudGVyMg=="}});
        TemplateCatalog::new(&[serde_json::from_value(node).unwrap()], &[object(secret)])
    }

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn templates_give_parameters_and_environment() {
        let catalog = catalog();
        let names: Vec<String> = catalog.templates().into_iter().map(|template| template.name).collect();
        assert_eq!(names, ["blank", "node"]);
        assert_eq!(catalog.templates()[1].parameters[0].options, ["test", "live"]);
        for (given, mode) in [(values(&[]), "test!"), (values(&[("mode", "live")]), "live!")] {
            let variables = catalog.variables("node", &given).unwrap();
            let expected = [("NODE_ENV", mode), ("TOKEN", "hunter2")];
            assert_eq!(variables, expected.map(|(name, value)| (name.into(), value.into())));
        }
        assert_eq!(catalog.variables("blank", &values(&[])).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let mut catalog = catalog();
        for (template, given, said) in [
            ("deno", values(&[]), "there is no template \"deno\"; the templates are: \"blank\", \"node\""),
            ("node", values(&[("mode", "prod")]), "template \"node\": parameter \"mode\" cannot be \"prod\""),
            (
                "node",
                values(&[("size", "1")]),
                "template \"node\" has no parameter \"size\"; its parameters are: \"mode\"",
            ),
            ("blank", values(&[("size", "1")]), "it has none, so omit parameters"),
        ] {
            let error = catalog.variables(template, &given).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        catalog.secrets.clear();
        let error = catalog.variables("node", &values(&[])).unwrap_err().to_string();
        assert!(error.contains("takes TOKEN from the key \"token\" of the Secret \"npm\""), "{error}");
    }

    #[test]
    fn a_blank_of_the_manifests_comes_before_ours() {
        let own = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "blank"},
            "spec": {"description": "ours", "pod": {"image": "debian"}},
        });
        let catalog = TemplateCatalog::new(&[serde_json::from_value(own).unwrap()], &[]);
        let templates = catalog.templates();
        assert_eq!((templates.len(), templates[0].description.as_str()), (1, "ours"));
        assert_eq!(templates[0].display_name, "blank");
    }
}
