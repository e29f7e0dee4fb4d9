//! What workspaces can be made from.

use super::{Call, Effect, NoArguments, Tool, ToolError};
use crate::{
    api::Scope,
    workspaces::{Template, Workspaces},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// `list_templates`.
pub(super) struct ListTemplates(pub Arc<dyn Workspaces>);

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Templates {
    /// Sorted by name.
    templates: Vec<Template>,
}

impl Tool for ListTemplates {
    type Arguments = NoArguments;
    type Output = Templates;
    const NAME: &'static str = "list_templates";
    const TITLE: &'static str = "List templates";
    const DESCRIPTION: &'static str =
        "Lists the templates that create_workspace can use, with the parameters that each one takes.";
    const SCOPE: Option<Scope> = Some(Scope::TemplatesRead);
    const EFFECT: Effect = Effect::Reads;

    async fn call(&self, _arguments: NoArguments, call: Call) -> Result<Templates, ToolError> {
        Ok(Templates { templates: self.0.templates(&call.owner()).await? })
    }
}
