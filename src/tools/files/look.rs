//! Looking at files.

use super::MAX_READ;
use crate::{
    agent::protocol::{self, Encoding, FileContent, FileList, SearchResults},
    api::Scope,
    tools::{Call, Effect, Image, Tool, ToolError},
    workspaces::{Error, Purpose, Workspaces},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// Pictures are read whole up to this size where nothing else is said: a part of one is of no use.
const MAX_PICTURE: u64 = 4 * 1024 * 1024;
/// The pictures that models can look at.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// `list_files`.
pub(in crate::tools) struct ListFiles(pub Arc<dyn Workspaces>);
/// `read_file`.
pub(in crate::tools) struct ReadFile(pub Arc<dyn Workspaces>);
/// `search_files`.
pub(in crate::tools) struct SearchFiles(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct ListArguments {
    /// The workspace's name or id.
    workspace: String,
    /// The folder; a relative path starts at the home folder. Default: the home folder.
    path: Option<String>,
    /// How deep to look: 1 is the folder itself. Default: 1.
    #[schemars(range(min = 1, max = 10))]
    depth: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct ReadArguments {
    /// The workspace's name or id.
    workspace: String,
    /// The file; a relative path starts at the home folder.
    path: String,
    /// The first line to read, from 1; for text.
    #[schemars(range(min = 1))]
    start_line: Option<u64>,
    /// The last line to read, with it.
    #[schemars(range(min = 1))]
    end_line: Option<u64>,
    /// The first byte to read, from 0; instead of lines, where one is too long or the file is no text.
    start_byte: Option<u64>,
    /// At most so many bytes. Default: 262144.
    #[schemars(range(min = 1, max = MAX_READ))]
    max_bytes: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct SearchArguments {
    /// The workspace's name or id.
    workspace: String,
    /// A regular expression, matched line by line; (?i) at its beginning ignores case.
    pattern: String,
    /// The folder or file to search; a relative path starts at the home folder. Default: the home folder.
    path: Option<String>,
    /// Only files whose path fits, such as *.rs or src/**/*.ts; all but those if it begins with !.
    glob: Option<String>,
    /// At most so many matches. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

impl Tool for ListFiles {
    type Arguments = ListArguments;
    type Output = FileList;
    const NAME: &'static str = "list_files";
    const TITLE: &'static str = "List files";
    const DESCRIPTION: &'static str = "Lists a folder of a running workspace: files, folders, links, with sizes and times of change. What is in .git and node_modules shows only if path leads there.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    async fn call(&self, arguments: ListArguments, call: Call) -> Result<FileList, ToolError> {
        let ListArguments { workspace, path, depth } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::ListFiles { path, depth, ..protocol::ListFiles::default() };
        Ok(agent.list_files(&request).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for ReadFile {
    type Arguments = ReadArguments;
    type Output = FileContent;
    const NAME: &'static str = "read_file";
    const TITLE: &'static str = "Read a file";
    const DESCRIPTION: &'static str = "Reads a file of a running workspace, or some of its lines. What is no text comes in \
        base64; pictures are shown. Long files are cut off: to read on, pass next_start_line as start_line, or \
        next_start_byte as start_byte.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    fn take_picture(output: &mut FileContent) -> Option<Image> {
        let whole = output.encoding == Encoding::Base64 && output.content.len() as u64 == output.size.div_ceil(3) * 4;
        (whole && PICTURES.contains(&output.mime_type.as_str()))
            .then(|| Image { data: std::mem::take(&mut output.content).into(), mime_type: output.mime_type.clone() })
    }

    async fn call(&self, arguments: ReadArguments, call: Call) -> Result<FileContent, ToolError> {
        let ReadArguments { workspace, path, start_line, end_line, start_byte, max_bytes } = arguments;
        if let Some(bytes) = max_bytes.filter(|bytes| !(1..=MAX_READ).contains(bytes)) {
            let problem = format!(
                "{bytes} is out of range; give 1 to {MAX_READ}, and read on by next_start_line or next_start_byte"
            );
            return Err(Error::InvalidArgument { argument: "max_bytes", problem }.into());
        }
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let mut request = protocol::ReadFile { path, start_line, end_line, start_byte, max_bytes, ..protocol::ReadFile::default() };
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
    const DESCRIPTION: &'static str = "Finds the lines of files in a running workspace that match a regular expression. \
        Leaves out what .gitignore names, .git and what is no text.";
    const SCOPE: Option<Scope> = Some(Scope::FilesRead);
    const EFFECT: Effect = Effect::Reads;

    async fn call(&self, arguments: SearchArguments, call: Call) -> Result<SearchResults, ToolError> {
        let SearchArguments { workspace, pattern, path, glob, limit } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = protocol::SearchFiles { pattern, path, glob, limit, ..protocol::SearchFiles::default() };
        Ok(agent.search_files(&request).await.map_err(Error::agent(&workspace))?)
    }
}
