//! The tool `fetch`.

use super::reach::{Kind, Reach};
use crate::{Call, Effect, Text, Tool, ToolError, templates};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_agent::protocol::{Encoding, ReadFile};
use portcullis_budget::Account;
use portcullis_core::Scope;
use portcullis_workspaces::{Error, Owner, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The maximum size of a fetched text, in bytes.
const MAX_TEXT: u64 = 512 * 1024;

/// `fetch`.
pub(crate) struct Fetch {
    backend: Arc<dyn Workspaces>,
    reach: Reach,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FetchArguments {
    /// workspace:NAME, template:NAME or file:WORKSPACE/PATH.
    id: String,
}

/// The document of an id.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    /// The requested id.
    id: String,
    /// The display name.
    title: String,
    /// The whole text.
    text: String,
    /// The URL, for citations.
    url: String,
    /// Additional metadata.
    metadata: BTreeMap<String, String>,
}

impl Fetch {
    pub(crate) fn new(backend: Arc<dyn Workspaces>, reach: Reach) -> Self {
        Self { backend, reach }
    }

    async fn file(
        &self,
        on: (&Owner, &Account),
        rest: &str,
    ) -> Result<(String, String, BTreeMap<String, String>), Error> {
        let (workspace, path) = rest.split_once('/').ok_or_else(invalid_id)?;
        let (owner, account) = on;
        let agent = self.backend.agent(owner, workspace, Purpose::Work).await?.charging(account.clone());
        let request = ReadFile { path: path.to_owned(), max_bytes: Some(MAX_TEXT), ..ReadFile::default() };
        let file = agent.read_file(&request).await.map_err(Error::agent(workspace))?;
        let (text, charset) = match file.encoding {
            Encoding::Utf8 => (file.content, "utf-8"),
            Encoding::Base64 => {
                let Some(text) = latin_1(&file.mime_type, &file.content) else {
                    let problem = format!("{path} is not text but {}; read_file shows it", file.mime_type);
                    return Err(Error::InvalidArgument { argument: "id", problem });
                };
                (text, "iso-8859-1")
            }
        };
        let metadata = [
            ("mime_type", file.mime_type),
            ("charset", charset.to_owned()),
            ("size", file.size.to_string()),
            ("truncated", file.truncated.to_string()),
        ];
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok((format!("{path} in {workspace}"), text, metadata))
    }
}

impl Tool for Fetch {
    type Arguments = FetchArguments;
    type Output = Document;
    const NAME: &'static str = "fetch";
    const TITLE: &'static str = "Fetch a document";
    const DESCRIPTION: &'static str =
        "Returns the document of an id from search: a workspace, a template, or the text of a file.";
    const SCOPE: Option<Scope> = None;
    const EFFECT: Effect = Effect::Reads;

    fn text(_output: &Document) -> Text {
        Text::Json
    }

    async fn call(&self, arguments: FetchArguments, call: Call) -> Result<Document, ToolError> {
        let owner = call.owner();
        let id = arguments.id;
        let (prefix, rest) = id.split_once(':').ok_or_else(invalid_id)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix).ok_or_else(invalid_id)?;
        self.reach.check(kind, &call.caller)?;
        let (title, text, metadata) = match kind {
            Kind::Workspace => {
                let workspace = self.backend.get(&owner, rest).await?;
                (format!("Workspace {}", workspace.name), pretty(&workspace)?, BTreeMap::new())
            }
            Kind::Template => {
                let template = templates::find(self.backend.templates(&owner).await?, rest.to_owned())?;
                (format!("Template {}", template.display_name), pretty(&template)?, BTreeMap::new())
            }
            Kind::File => self.file((&owner, &call.account), rest).await?,
        };
        let url = self.reach.url_of(kind, rest);
        Ok(Document { id, title, text, url, metadata })
    }
}

fn pretty(value: &impl Serialize) -> Result<String, ToolError> {
    serde_json::to_string_pretty(value).map_err(ToolError::Output)
}

/// Decodes text that is not UTF-8 as Latin-1 (ISO/IEC 8859-1), in which each byte is a character.
fn latin_1(mime_type: &str, base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok().filter(|bytes| !bytes.contains(&0))?;
    mime_type.starts_with("text/").then(|| bytes.into_iter().map(char::from).collect())
}

fn invalid_id() -> Error {
    let problem = "pass an id that search returned, such as workspace:NAME, template:NAME or file:WORKSPACE/PATH";
    Error::InvalidArgument { argument: "id", problem: problem.to_owned() }
}
