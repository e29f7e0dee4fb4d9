//! Reads manifests in the same way as `kubectl apply`: files, folders or standard input, with several documents each,
//! and checks every admission rule. Errors name the file, the line or document, and the field.

mod problem;

pub(super) use problem::ManifestErrors;
pub use problem::{ManifestProblem, Validation};

use super::{
    located::{Lines, Located, Tree},
    references,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::core::Resource;
use portcullis_api::{
    GROUP, McpEndpoint, OAuthClient, OAuthUser, VERSION, Workspace, WorkspaceTemplate,
    validation::{Violation, admit},
};
use serde_json::Value;
use serde_saphyr::{Spanned, UserMessageFormatter};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt, fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

/// The kinds of this project that are read.
const KINDS: [&str; 4] = ["McpEndpoint", "OAuthClient", "OAuthUser", "WorkspaceTemplate"];

/// A source of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder, whose `.yaml`, `.yml` and `.json` files are read recursively.
    Path(PathBuf),
    /// The text from standard input.
    Text(String),
}

/// The objects of the manifests that are used without a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Manifests {
    /// All endpoints.
    pub endpoints: Vec<McpEndpoint>,
    /// Namespaces and names of the endpoints whose manifest has `spec.clients`: what it says counts.
    pub with_client_policy: BTreeSet<(String, String)>,
    /// All clients, of any endpoint.
    pub clients: Vec<OAuthClient>,
    /// All user rules, of any endpoint.
    pub users: Vec<OAuthUser>,
    /// All templates.
    pub templates: Vec<WorkspaceTemplate>,
    /// All Secrets. A client's `existingSecret` or a template's environment can refer to them.
    pub secrets: Vec<Secret>,
    /// Messages about skipped documents.
    pub notes: Vec<String>,
}

/// Reads all `sources`. Skips the state directory `state` within their folders.
pub(super) fn load(sources: &[Source], state: &Path) -> Result<Manifests, ManifestErrors> {
    let reader = Reader::of(sources, state);
    if reader.errors.is_empty() { Ok(reader.found) } else { Err(ManifestErrors(reader.errors)) }
}

/// Checks all of `sources` as `portcullis dev` and admission do. Blocks.
#[must_use]
pub fn validate(sources: &[Source]) -> Validation {
    let Reader { found, errors, seen, .. } = Reader::of(sources, Path::new(""));
    // Of a Workspace there is a note too, but it was checked.
    let workspaces = seen.keys().filter(|(kind, ..)| kind == "Workspace").count();
    Validation { objects: seen.len(), skipped: found.notes.len().saturating_sub(workspaces), problems: errors }
}

/// The position of an object in the sources.
#[derive(Clone, Debug)]
pub(super) struct SourcePosition {
    /// The file.
    name: Rc<str>,
    /// The number of the document in the file, from 1.
    document: usize,
    /// The path of the object in a list, such as `items[0]`.
    inside: String,
    /// The lines of the document's fields; empty if it was not read as YAML.
    lines: Rc<Lines>,
}

impl SourcePosition {
    /// The path of a field of the object in the document.
    fn path(&self, field: &str) -> String {
        [self.inside.as_str(), field].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// File and line of a field of the object; without a line, the position of the object.
    fn at(&self, field: &str) -> String {
        self.lines.of(&self.path(field)).map_or_else(|| self.to_string(), |line| format!("{}:{line}", self.name))
    }

    /// A problem of a field of the object.
    fn problem(&self, field: &str, message: impl Into<String>) -> ManifestProblem {
        let path = self.path(field);
        ManifestProblem {
            file: self.name.to_string(),
            line: self.lines.of(&path),
            document: Some(self.document),
            field: path,
            message: message.into(),
        }
    }

    fn item(&self, index: usize) -> Self {
        let inside = format!("items[{index}]");
        let inside = if self.inside.is_empty() { inside } else { format!("{}.{inside}", self.inside) };
        Self { inside, ..self.clone() }
    }
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.name, self.document)?;
        if self.inside.is_empty() { Ok(()) } else { write!(f, ", {}", self.inside) }
    }
}

/// Kind, namespace and name of an object.
pub(super) type Key = (String, String, String);

/// The files of a source, sorted: `path` itself, or the manifests below it.
fn files(path: &Path, state: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let below = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = below.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if hidden || fs::canonicalize(&below).is_ok_and(|real| real == state) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            found.extend(files(&below, state)?);
        } else if manifest {
            found.push(below);
        }
    }
    Ok(found)
}

#[derive(Default)]
struct Reader {
    found: Manifests,
    errors: Vec<ManifestProblem>,
    /// The positions of all valid objects.
    seen: BTreeMap<Key, SourcePosition>,
    /// Namespaces and names of all endpoints, including invalid ones.
    endpoints: BTreeSet<(String, String)>,
    /// Whether a document could not be read, which can contain an endpoint.
    incomplete: bool,
}

impl Reader {
    /// Everything in `sources`, checked.
    fn of(sources: &[Source], state: &Path) -> Self {
        let mut reader = Self::default();
        for source in sources {
            match source {
                Source::Text(text) => reader.text("standard input", text, true),
                Source::Path(path) => reader.path(path, state),
            }
        }
        reader.check_references();
        reader
    }

    fn path(&mut self, path: &Path, state: &Path) {
        let name = path.display().to_string();
        let files = match files(path, state) {
            Ok(files) => files,
            Err(error) => return self.unreadable(ManifestProblem::of_file(&name, error)),
        };
        if files.is_empty() {
            self.errors.push(ManifestProblem::of_file(&name, "the folder has no .yaml, .yml or .json file"));
        }
        for file in files {
            let name = file.display().to_string();
            match fs::read_to_string(&file) {
                Ok(text) => self.text(&name, &text, file == path),
                Err(error) => self.unreadable(ManifestProblem::of_file(&name, error)),
            }
        }
    }

    fn unreadable(&mut self, error: ManifestProblem) {
        self.errors.push(error);
        self.incomplete = true;
    }

    /// Reads the documents of a source. `named`: the user named the source explicitly, so every document in it must be
    /// a manifest.
    fn text(&mut self, name: &str, text: &str, named: bool) {
        let name: Rc<str> = name.into();
        let position = |index: usize, lines: Lines| SourcePosition {
            name: Rc::clone(&name),
            document: index + 1,
            inside: String::new(),
            lines: Rc::new(lines),
        };
        if let Some(values) = json_stream(text) {
            for (index, value) in values.into_iter().enumerate() {
                self.document(&position(index, Lines::default()), value, named);
            }
            return;
        }
        let mut bytes = text.as_bytes();
        for (index, document) in serde_saphyr::read::<_, Spanned<Tree>>(&mut bytes).enumerate() {
            match document {
                Ok(document) => {
                    let Located { value, lines } = document.into();
                    self.document(&position(index, lines), value, named);
                }
                Err(error) => {
                    // The default message is for developers who use the library.
                    let error = error.without_snippet().render_with_formatter(&UserMessageFormatter);
                    self.unreadable(position(index, Lines::default()).problem("", error));
                }
            }
        }
    }

    /// Checks what admission in a cluster cannot check, or reports in less detail.
    fn check_references(&mut self) {
        let Self { found, errors, seen, endpoints, incomplete } = self;
        let faults = references::of_templates(&found.templates).into_iter();
        // If a document or all endpoints are missing, another error is reported.
        let dangling = if *incomplete || endpoints.is_empty() {
            Vec::new()
        } else {
            references::to_endpoints(&found.clients, &found.users, endpoints)
        };
        let tools = references::to_tools(&found.endpoints);
        for (key, Violation { field, message }) in faults.chain(dangling).chain(tools) {
            errors.extend(seen.get(&key).map(|position| position.problem(&field, message)));
        }
    }

    fn document(&mut self, position: &SourcePosition, mut value: Value, named: bool) {
        let word = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (word("apiVersion"), word("kind"));
        if version.is_empty() || kind.is_empty() {
            if named {
                self.errors.push(position.problem("", "a manifest needs apiVersion and kind; add them"));
            } else {
                self.found.notes.push(format!("{position} is not a manifest; it is skipped"));
            }
            return;
        }
        let ours = version == format!("{GROUP}/{VERSION}");
        match kind.as_str() {
            _ if is_list(&version, &kind) => {
                if let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
                    for (index, mut item) in items.into_iter().enumerate() {
                        let of_list = kind.trim_end_matches("List");
                        if let Value::Object(item) = &mut item
                            && !of_list.is_empty()
                        {
                            item.entry("apiVersion").or_insert_with(|| version.clone().into());
                            item.entry("kind").or_insert_with(|| of_list.into());
                        }
                        self.document(&position.item(index), item, named);
                    }
                }
            }
            "McpEndpoint" if ours => {
                let name = name_of(&value);
                if !value["spec"]["clients"].is_null() {
                    self.found.with_client_policy.extend(name.clone());
                }
                self.endpoints.extend(name);
                if let Some(endpoint) = self.object(position, value, admit_endpoint) {
                    self.found.endpoints.push(endpoint);
                }
            }
            "OAuthClient" if ours => {
                if let Some(client) = self.object(position, value, admit) {
                    self.found.clients.push(client);
                }
            }
            "OAuthUser" if ours => {
                if let Some(user) = self.object(position, value, admit) {
                    self.found.users.push(user);
                }
            }
            "WorkspaceTemplate" if ours => {
                if let Some(template) = self.object(position, value, admit_template) {
                    self.found.templates.push(template);
                }
            }
            "Secret" if version == "v1" => {
                if let Some(secret) = self.object(position, value, admit_secret) {
                    self.found.secrets.push(secret);
                }
            }
            kind if KINDS.contains(&kind) => {
                let message = format!("{version:?} has no {kind}; use {GROUP}/{VERSION}");
                self.errors.push(position.problem("apiVersion", message));
            }
            // In a cluster, servers create these objects.
            "OAuthGrant" | "Workspace" if ours => {
                if kind == "Workspace" {
                    self.object(position, value, admit::<Workspace>);
                }
                self.found
                    .notes
                    .push(format!("{position} is of kind {kind}, which the server creates itself; it is skipped"));
            }
            _ if ours || KINDS.iter().any(|known| known.eq_ignore_ascii_case(&kind)) => {
                let near = KINDS.iter().find(|known| known.eq_ignore_ascii_case(&kind));
                let remedy =
                    near.map_or_else(|| format!("the kinds are {}", KINDS.join(", ")), |near| format!("write {near}"));
                let message = format!("there is no {kind} in {GROUP}/{VERSION}; {remedy}");
                self.errors.push(position.problem("kind", message));
            }
            _ => self.found.notes.push(format!("{position} is a {kind}, which is skipped without a cluster")),
        }
    }

    /// Admits an object and sets its namespace. Returns `None` after an error was recorded.
    fn object<T: Resource<DynamicType = ()>>(
        &mut self,
        position: &SourcePosition,
        value: Value,
        admit: impl FnOnce(Value) -> Result<T, Vec<Violation>>,
    ) -> Option<T> {
        let mut object = match admit(value) {
            Ok(object) => object,
            Err(violations) => {
                let located = |Violation { field, message }| position.problem(&field, message);
                self.errors.extend(violations.into_iter().map(located));
                return None;
            }
        };
        let namespace = object.meta_mut().namespace.get_or_insert_with(|| "default".to_owned()).clone();
        let key = (T::kind(&()).into_owned(), namespace, object.meta().name.clone().unwrap_or_default());
        match self.seen.entry(key) {
            Entry::Vacant(free) => {
                free.insert(position.clone());
                Some(object)
            }
            Entry::Occupied(taken) => {
                let ((kind, namespace, name), first) = (taken.key(), taken.get());
                let first = first.at("metadata.name");
                let message =
                    format!("{kind} {name:?} of namespace {namespace:?} is in {first} already; remove one of them");
                self.errors.push(position.problem("metadata.name", message));
                None
            }
        }
    }
}

/// Parses a sequence of JSON objects, which `kubectl` accepts too. `None` for any other text, and for a single object.
fn json_stream(text: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let values = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>().ok()?;
    (values.len() > 1).then_some(values)
}

/// Whether a kind is a list: of any objects, or of a kind that is read here.
fn is_list(version: &str, kind: &str) -> bool {
    match kind.strip_suffix("List") {
        Some("" | "Secret") => version == "v1",
        Some(of) => version == format!("{GROUP}/{VERSION}") && KINDS.contains(&of),
        None => false,
    }
}

/// Namespace and name of a manifest; `None` without a name.
fn name_of(value: &Value) -> Option<(String, String)> {
    let text = |field: &str| value["metadata"][field].as_str().map(ToOwned::to_owned);
    Some((text("namespace").unwrap_or_else(|| "default".to_owned()), text("name")?))
}

/// Admits an endpoint. Errors about unknown tools suggest similar names.
fn admit_endpoint(value: Value) -> Result<McpEndpoint, Vec<Violation>> {
    let tools = value["spec"]["tools"].clone();
    admit(value).map_err(|violations| references::with_tools_named(violations, tools))
}

/// Admits a template. If it is refused, the errors include all of its faults.
fn admit_template(value: Value) -> Result<WorkspaceTemplate, Vec<Violation>> {
    let spec = value["spec"].clone();
    admit(value).map_err(|violations| references::with_faults(violations, spec))
}

/// Admits a Secret, and moves its `stringData` into `data` like an API server.
fn admit_secret(value: Value) -> Result<Secret, Vec<Violation>> {
    let violation = |field: &str, message: &str| Violation { field: field.to_owned(), message: message.to_owned() };
    let mut unknown = Vec::new();
    let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let mut secret: Secret =
        serde_ignored::deserialize(value, note).map_err(|error| vec![violation("", &error.to_string())])?;
    unknown.retain(|field| field != "apiVersion" && field != "kind");
    if secret.metadata.name.is_none() {
        return Err(vec![violation("metadata.name", "is required; add it")]);
    }
    if !unknown.is_empty() {
        let message = "unknown field; correct its name or remove it";
        return Err(unknown.iter().map(|field| violation(field, message)).collect());
    }
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests;
