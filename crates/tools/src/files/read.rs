//! Tools that list, read and search files.

use crate::files::MAX_READ;
use crate::{Call, Effect, Image, Text, Tool, ToolError, text};
use portcullis_agent::protocol::{self, Encoding, FileContent, FileList, SearchResults};
use portcullis_core::Scope;
use portcullis_workspaces::{Error, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// The default size of a read, in bytes: more would fill a model's context.
const USUAL_BYTES: u64 = 48 * 1024;
const USUAL_LINES: u64 = 2000;
/// The maximum size of an image that is read as a whole by default, in bytes: a part of an image is useless.
const MAX_PICTURE: u64 = 4 * 1024 * 1024;
/// The image formats that models can read.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// `list_files`.
pub(crate) struct ListFiles(pub Arc<dyn Workspaces>);
/// `read_file`.
pub(crate) struct ReadFile(pub Arc<dyn Workspaces>);
/// `search_files`.
pub(crate) struct SearchFiles(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {
    /// Name or id.
    workspace: String,
    /// The folder. Default: the home folder.
    path: Option<String>,
    /// Levels to list. Default: 1, the folder itself.
    #[schemars(range(min = 1, max = 10))]
    depth: Option<u32>,
    /// next_offset of the previous page.
    offset: Option<u64>,
    /// Maximum number of entries. Default: 1000.
    #[schemars(range(min = 1, max = 2000))]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadArguments {
    /// Name or id.
    workspace: String,
    /// The path, relative to the home folder.
    path: String,
    /// The first line, from 1; for text.
    #[schemars(range(min = 1))]
    start_line: Option<u64>,
    /// The last line.
    #[schemars(range(min = 1))]
    end_line: Option<u64>,
    /// The first byte, from 0, instead of lines.
    start_byte: Option<u64>,
    /// Maximum number of bytes. Default: 49152, and 2000 lines.
    #[schemars(range(min = 1, max = MAX_READ))]
    max_bytes: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchArguments {
    /// Name or id.
    workspace: String,
    /// A regular expression, matched by line; (?i) at its start ignores case.
    pattern: String,
    /// The folder or file to search. Default: the home folder.
    path: Option<String>,
    /// A glob for files: *.rs, src/**/*.ts; ! at its start excludes them.
    glob: Option<String>,
    /// next_offset of the previous page.
    offset: Option<u64>,
    /// Maximum number of matches. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

impl Tool for ListFiles {
    type Arguments = ListArguments;
    type Output = FileList;
    const NAME: &'static str = "list_files";
    const TITLE: &'static str = "List files";
    const DESCRIPTION: &'static str = "Lists a folder, a page at a time: paths, sizes, modification times. Omits the content of .git and \
        node_modules, unless path leads there.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &FileList) -> Text {
        text::files(output)
    }

    async fn call(&self, arguments: ListArguments, call: Call) -> Result<FileList, ToolError> {
        let ListArguments { workspace, path, depth, offset, limit } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::ListFiles { path, depth, offset, limit, max_bytes: None };
        Ok(agent.list_files(&request).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for ReadFile {
    type Arguments = ReadArguments;
    type Output = FileContent;
    const NAME: &'static str = "read_file";
    const TITLE: &'static str = "Read a file";
    const DESCRIPTION: &'static str = "Reads a file, or some of its lines. Binary files are returned as base64; pictures are shown. To \
        read on, pass next_start_line as start_line, or next_start_byte as start_byte.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &FileContent) -> Text {
        text::content(output)
    }

    fn take_picture(output: &mut FileContent) -> Option<Image> {
        let whole = output.encoding == Encoding::Base64 && output.content.len() as u64 == output.size.div_ceil(3) * 4;
        (whole && PICTURES.contains(&output.mime_type.as_str()))
            .then(|| Image { data: std::mem::take(&mut output.content).into(), mime_type: output.mime_type.clone() })
    }

    async fn call(&self, arguments: ReadArguments, call: Call) -> Result<FileContent, ToolError> {
        let ReadArguments { workspace, path, start_line, end_line, start_byte, max_bytes } = arguments;
        if let Some(bytes) = max_bytes.filter(|bytes| !(1..=MAX_READ).contains(bytes)) {
            let problem = format!(
                "{bytes} is out of range; give 1 to {MAX_READ}, and continue with next_start_line or next_start_byte"
            );
            return Err(Error::InvalidArgument { argument: "max_bytes", problem }.into());
        }
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let (bytes, max_lines) = (Some(max_bytes.unwrap_or(USUAL_BYTES)), max_bytes.is_none().then_some(USUAL_LINES));
        let mut request = protocol::ReadFile { path, start_line, end_line, start_byte, max_bytes: bytes, max_lines };
        let mut read = agent.read_file(&request).await.map_err(Error::agent(&workspace))?;
        let cut = read.truncated && max_bytes.is_none() && read.encoding == Encoding::Base64;
        if cut && read.size <= MAX_PICTURE && PICTURES.contains(&read.mime_type.as_str()) {
            request.max_bytes = Some(MAX_PICTURE);
            read = agent.read_file(&request).await.map_err(Error::agent(&workspace))?;
        }
        Ok(read)
    }
}

impl Tool for SearchFiles {
    type Arguments = SearchArguments;
    type Output = SearchResults;
    const NAME: &'static str = "search_files";
    const TITLE: &'static str = "Search files";
    const DESCRIPTION: &'static str = "Finds lines of files that match a regular expression. Omits .git, files that .gitignore \
        names, and binary files.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &SearchResults) -> Text {
        text::matches(output)
    }

    async fn call(&self, arguments: SearchArguments, call: Call) -> Result<SearchResults, ToolError> {
        let SearchArguments { workspace, pattern, path, glob, offset, limit } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::SearchFiles { pattern, path, glob, limit, offset, max_bytes: None };
        Ok(agent.search_files(&request).await.map_err(Error::agent(&workspace))?)
    }
}
