//! The tools that show the templates of workspaces.

use crate::{Call, Effect, NoArguments, Text, Tool, ToolError, text};
use portcullis_core::Scope;
use portcullis_workspaces::{Error, Template, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `list_templates`.
pub(super) struct ListTemplates(pub Arc<dyn Workspaces>);
/// `get_template`.
pub(super) struct GetTemplate(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateArguments {
    /// The template's name, from list_templates.
    template: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Templates {
    /// The templates, sorted by name.
    templates: Vec<Template>,
}

impl Tool for ListTemplates {
    type Arguments = NoArguments;
    type Output = Templates;
    const NAME: &'static str = "list_templates";
    const TITLE: &'static str = "List templates";
    const DESCRIPTION: &'static str = "Lists the templates for create_workspace, with their parameters.";
    const SCOPE: Option<Scope> = Some(Scope::TemplatesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Templates) -> Text {
        let lines: Vec<String> = output.templates.iter().map(text::template).collect();
        if lines.is_empty() { "no templates".to_owned().into() } else { lines.join("\n").into() }
    }

    async fn call(&self, _arguments: NoArguments, call: Call) -> Result<Templates, ToolError> {
        Ok(Templates { templates: self.0.templates(&call.owner()).await? })
    }
}

impl Tool for GetTemplate {
    type Arguments = TemplateArguments;
    type Output = Template;
    const NAME: &'static str = "get_template";
    const TITLE: &'static str = "Get a template";
    const DESCRIPTION: &'static str = "Shows a template: its purpose, and its parameters for create_workspace.";
    const SCOPE: Option<Scope> = Some(Scope::TemplatesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Template) -> Text {
        text::template(output).into()
    }

    async fn call(&self, arguments: TemplateArguments, call: Call) -> Result<Template, ToolError> {
        Ok(find(self.0.templates(&call.owner()).await?, arguments.template)?)
    }
}

/// Finds a template by name.
pub(super) fn find(templates: Vec<Template>, wanted: String) -> Result<Template, Error> {
    let existing: Vec<String> = templates.iter().map(|template| template.name.clone()).collect();
    let found = templates.into_iter().find(|template| template.name == wanted);
    found.ok_or(Error::UnknownTemplate { wanted, existing })
}
