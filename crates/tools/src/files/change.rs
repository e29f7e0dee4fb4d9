//! Tools that write, edit, move and remove files.

use crate::files::MAX_BYTES;
use crate::{Call, Effect, Text, Tool, ToolError, text};
use portcullis_agent::protocol::{self, Edited, Encoding, Moved, Removed, Written};
use portcullis_core::Scope;
use portcullis_workspaces::{Error, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// `write_file`.
pub(crate) struct WriteFile(pub Arc<dyn Workspaces>);
/// `edit_file`.
pub(crate) struct EditFile(pub Arc<dyn Workspaces>);
/// `move_path`.
pub(crate) struct MovePath(pub Arc<dyn Workspaces>);
/// `remove_path`.
pub(crate) struct RemovePath(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteArguments {
    /// Name or id.
    workspace: String,
    /// The path, relative to the home folder. Missing folders are created.
    path: String,
    /// The whole content; with append, the content to add.
    content: String,
    /// The encoding of content. Default: utf8.
    #[serde(default)]
    encoding: Encoding,
    /// Permissions, such as 755. Default: unchanged, or 644 for a new file.
    mode: Option<String>,
    /// True: append content to the file.
    #[serde(default)]
    append: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditArguments {
    /// Name or id.
    workspace: String,
    /// The path, relative to the home folder.
    path: String,
    /// The exact text to replace; it must occur once, unless replace_all.
    old_text: String,
    /// The replacement.
    new_text: String,
    /// True: replace every occurrence.
    #[serde(default)]
    replace_all: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveArguments {
    /// Name or id.
    workspace: String,
    /// The path to move, relative to the home folder.
    from: String,
    /// The new path. Missing folders are created.
    to: String,
    /// True: replace an existing file.
    #[serde(default)]
    overwrite: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveArguments {
    /// Name or id.
    workspace: String,
    /// The path to remove, relative to the home folder.
    path: String,
    /// True: remove a folder with its content.
    #[serde(default)]
    recursive: bool,
}

impl Tool for WriteFile {
    type Arguments = WriteArguments;
    type Output = Written;
    const NAME: &'static str = "write_file";
    const TITLE: &'static str = "Write a file";
    const DESCRIPTION: &'static str = "Writes a whole file, or appends to it. To change a part, use edit_file.";
    const SCOPE: Option<Scope> = Some(Scope::FilesWrite);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Written) -> Text {
        text::written(output)
    }

    async fn call(&self, arguments: WriteArguments, call: Call) -> Result<Written, ToolError> {
        let WriteArguments { workspace, path, content, encoding, mode, append } = arguments;
        let bytes = content.len() as u64;
        let bytes = if encoding == Encoding::Base64 { bytes / 4 * 3 } else { bytes };
        if bytes > MAX_BYTES {
            let problem = format!(
                "it has {bytes} bytes, and the maximum is {MAX_BYTES}; write the first part, then append the others with append: true, or download the file in the workspace by run_command"
            );
            return Err(Error::InvalidArgument { argument: "content", problem }.into());
        }
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::WriteFile { path, content, encoding, mode };
        let written = if append { agent.append_file(&request).await } else { agent.write_file(&request).await };
        Ok(written.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for EditFile {
    type Arguments = EditArguments;
    type Output = Edited;
    const NAME: &'static str = "edit_file";
    const TITLE: &'static str = "Edit a file";
    const DESCRIPTION: &'static str = "Replaces text in a file and returns the diff. Include enough surrounding lines in old_text \
        to make it unique.";
    const SCOPE: Option<Scope> = Some(Scope::FilesWrite);
    const EFFECT: Effect = Effect::Changes;

    fn text(output: &Edited) -> Text {
        text::edited(output)
    }

    async fn call(&self, arguments: EditArguments, call: Call) -> Result<Edited, ToolError> {
        let EditArguments { workspace, path, old_text, new_text, replace_all } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::EditFile { path, old_text, new_text, replace_all };
        Ok(agent.edit_file(&request).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for MovePath {
    type Arguments = MoveArguments;
    type Output = Moved;
    const NAME: &'static str = "move_path";
    const TITLE: &'static str = "Move or rename";
    const DESCRIPTION: &'static str = "Moves or renames a file or folder.";
    const SCOPE: Option<Scope> = Some(Scope::FilesWrite);
    const EFFECT: Effect = Effect::Changes;

    fn text(output: &Moved) -> Text {
        text::moved(output)
    }

    async fn call(&self, arguments: MoveArguments, call: Call) -> Result<Moved, ToolError> {
        let MoveArguments { workspace, from, to, overwrite } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::MovePath { from, to, overwrite };
        Ok(agent.move_path(&request).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for RemovePath {
    type Arguments = RemoveArguments;
    type Output = Removed;
    const NAME: &'static str = "remove_path";
    const TITLE: &'static str = "Remove a file or folder";
    const DESCRIPTION: &'static str = "Permanently removes a file, or a folder with recursive: true.";
    const SCOPE: Option<Scope> = Some(Scope::FilesWrite);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Removed) -> Text {
        text::removed(output)
    }

    async fn call(&self, arguments: RemoveArguments, call: Call) -> Result<Removed, ToolError> {
        let RemoveArguments { workspace, path, recursive } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::RemovePath { path, recursive };
        Ok(agent.remove_path(&request).await.map_err(Error::agent(&workspace))?)
    }
}
