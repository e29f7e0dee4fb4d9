//! What the papers say is what the code does, where a test can tell.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

mod commands;
mod configuration;
mod crds;
mod errors;
mod manifests;
mod metrics;
mod profiles;
mod reference;

use portcullis_api::Preset;
use portcullis_core::{PublicUrl, Scope, clock::SystemClock, endpoint_paths, rng::rng};
use portcullis_telemetry::audit;
use portcullis_tools::{Definition, Effect, Registry};
use portcullis_workspaces::local::{LocalOptions, LocalWorkspaces};
use regex::Regex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The first cells of all rows of a document's tables.
fn first_cells(document: &str) -> impl Iterator<Item = &str> {
    document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut section = "";
    let mut used = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[workspace.dependencies]" && !line.is_empty() && !line.starts_with("portcullis-") {
            used.insert(line.split(" =").next().unwrap());
        }
    }
    let reasons = read("docs/dependencies.md");
    let named: BTreeSet<&str> =
        first_cells(&reasons).flat_map(|cell| cell.split(", ")).filter(|name| *name != "crate").collect();
    assert_eq!(named, used);
}

/// The workspace as cargo sees it.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform"])
        // What only other systems need is not downloaded.
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of crates in one cell of the table.
fn crates(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn crates_depend_on_what_the_architecture_says() {
    let document = read("docs/architecture.md");
    let section = document.split("## Crates").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut documented = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        documented.insert(crates(cells[0]).pop_first().unwrap(), crates(cells[2]));
    }
    let mut found = BTreeMap::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let Some(name) = package["name"].as_str().unwrap().strip_prefix("portcullis-") else { continue };
        let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|of| of["kind"].is_null());
        let names = dependencies.filter_map(|of| of["name"].as_str()?.strip_prefix("portcullis-").map(str::to_owned));
        found.insert(name.to_owned(), names.collect());
    }
    assert_eq!(documented, found);
}

/// The longest file of Rust code, in lines.
const MOST_LINES: usize = 450;

/// Every file of Rust code below a folder, except what a build wrote.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != "node_modules") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_source_file_is_longer_than_450_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        sources(&root.join(folder), &mut found);
    }
    assert!(found.len() > 300, "{}", found.len());
    found.sort();
    let mut longer = Vec::new();
    for path in found {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > MOST_LINES {
            longer.push(format!("{name}: {lines}"));
        }
    }
    assert!(longer.is_empty(), "split these files by subject: {longer:#?}");
}

#[test]
fn these_crates_know_no_kubernetes() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let dependencies = |id: &str| -> Vec<String> {
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        let normal = |of: &&Value| of["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
        let of = node["deps"].as_array().unwrap().iter().filter(normal);
        of.map(|of| of["pkg"].as_str().unwrap().to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    let name = |id: &str| packages.iter().find(|package| package["id"] == id).unwrap()["name"].as_str().unwrap();
    for free in ["core", "config", "budget", "telemetry", "outbound", "agent", "oauth", "client"] {
        let root = packages.iter().find(|package| package["name"] == format!("portcullis-{free}")).unwrap();
        let mut seen = BTreeSet::new();
        let mut next = vec![root["id"].as_str().unwrap().to_owned()];
        while let Some(id) = next.pop() {
            if seen.insert(id.clone()) {
                assert!(!["kube", "kube-core", "k8s-openapi"].contains(&name(&id)), "{free} depends on {}", name(&id));
                next.extend(dependencies(&id));
            }
        }
    }
}

/// The argument of each `.route(…)` in a source file.
fn routes(path: &str) -> Vec<String> {
    let source = read(path);
    let source = source.split("#[cfg(test)]").next().unwrap();
    let pattern =
        Regex::new(r#"\.route\(\s*&?((?:format!\("[^"]*", [^)]*\(\)(?:, [\w:]+)?\))|[\w.:]+\([^)]*\)|[\w:]+),"#)
            .unwrap();
    let found: Vec<String> = pattern.captures_iter(source).map(|found| found[1].to_owned()).collect();
    assert_eq!(
        found.len(),
        source.matches(".route(").count() - source.matches("app.route(").count(),
        "{path}: {found:#?}"
    );
    found
}

#[test]
fn every_fixed_path_that_a_server_serves_is_reserved() {
    let definitions = read("crates/core/src/endpoint_paths.rs");
    let constants = Regex::new(r#"pub const (\w+): &str = "([^"]+)";"#).unwrap();
    let constants: BTreeMap<String, String> =
        constants.captures_iter(&definitions).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
    let mut fixed = BTreeSet::new();
    // After the issuer's path.
    let after_issuer = Regex::new(r#"^format!\("\{\}\{(\w+)_PATH\}", url\.base_path\(\)\)$"#).unwrap();
    let page = Regex::new(r#"^path\((?:paths::(\w+)|"([^"]+)")\)$"#).unwrap();
    for argument in routes("crates/server/src/public.rs").into_iter().chain(routes("crates/pages/src/lib.rs")) {
        if let Some(found) = after_issuer.captures(&argument) {
            fixed.insert(constants[&found[1]].clone());
        } else if let Some(found) = page.captures(&argument) {
            fixed.insert(found.get(1).map_or_else(|| found[2].to_owned(), |name| constants[name.as_str()].clone()));
        } else {
            // The endpoint's own path and those below it, and the metadata.
            let own = argument.contains("url.path()");
            let metadata =
                argument.ends_with("metadata_path()") || ["ROOT_RESOURCE_METADATA", "AI_CATALOG"].contains(&&*argument);
            let root = argument == "self.base()" || argument == "paths::FAVICON";
            assert!(own || metadata || root, "{argument}: a path of a constant in core::endpoint_paths");
        }
    }
    // The landing page gives way to an endpoint whose own URL is there, and no endpoint's URL is the root.
    fixed.retain(|path| path != "/" && path.trim_end_matches('/') != endpoint_paths::CONSOLE);
    for path in &fixed {
        assert!(endpoint_paths::is_reserved(path), "{path} is not in core::endpoint_paths::RESERVED");
    }
    for reserved in endpoint_paths::RESERVED {
        assert!(fixed.iter().any(|path| reserved.covers(path)), "no server serves {}", reserved.path);
    }
    let url: PublicUrl = "https://h.example/team/mcp".parse().unwrap();
    for path in [&url.resource_metadata_path(), &url.issuer_metadata_path(), endpoint_paths::ROOT_RESOURCE_METADATA] {
        assert!(path.starts_with(endpoint_paths::WELL_KNOWN), "{path}");
    }
}

#[test]
fn every_preset_is_described_with_its_callbacks() {
    let document = read("docs/clients.md");
    for preset in Preset::ALL {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", preset.name()))).unwrap();
        assert!(row.contains(&format!("| {:?} |", preset.client_type())), "{row}");
        for callback in preset.redirect_uris() {
            assert!(row.contains(&format!("`{callback}`")), "{callback} is missing in: {row}");
        }
    }
}

/// Whether a heading has this anchor, as GitHub makes them.
fn has_section(paper: &Path, anchor: &str) -> bool {
    let of = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
    };
    fs::read_to_string(paper).unwrap().lines().filter(|line| line.starts_with('#')).any(|line| of(line) == anchor)
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let papers = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root.join(name));
    let docs = ["docs", "docs/adr"].into_iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let docs = docs.map(|entry| entry.unwrap().path());
    for paper in papers.into_iter().chain(docs).filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&paper).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") {
                let (file, section) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { paper.clone() } else { paper.parent().unwrap().join(file) };
                assert!(target.exists(), "{}: {link}", paper.display());
                assert!(section.is_empty() || has_section(&target, section), "{}: {link}", paper.display());
            }
        }
    }
}

/// The tables of `docs/attacks.md`, from the tests themselves: a table for each file of them, and how many rows there are.
fn attacks() -> (String, usize) {
    let root = read("tests/attacks/main.rs");
    let (mut tables, mut rows) = (String::new(), 0);
    let pattern = Regex::new(r"((?:///[^\n]*\n)*)#\[tokio::test[^\n]*\n(?:async )?fn (\w+)").unwrap();
    for module in root.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')) {
        let path = format!("tests/attacks/{module}.rs");
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists() {
            continue;
        }
        let source = read(&path);
        let declared = source.matches("\n#[tokio::test").count() + source.matches("\n#[test]").count();
        if declared == 0 {
            continue;
        }
        let about: String = source.lines().map_while(|line| line.strip_prefix("//! ")).collect::<Vec<_>>().join(" ");
        write!(tables, "## `{module}`\n\n{about}\n\n| Attack | What must happen | Test |\n|---|---|---|\n").unwrap();
        let mut documented = 0;
        for found in pattern.captures_iter(&source) {
            let text: Vec<&str> = found[1].lines().map(|line| line.trim_start_matches('/').trim()).collect();
            let text = text.join(" ");
            let (attack, outcome) =
                text.split_once(" → ").unwrap_or_else(|| panic!("{module}::{}: {text:?}", &found[2]));
            let capital = outcome[..1].to_uppercase() + &outcome[1..];
            writeln!(tables, "| {attack} | {capital} | `{}` |", &found[2]).unwrap();
            documented += 1;
        }
        assert_eq!(documented, declared, "each test of {module} says what it tries");
        tables.push('\n');
        rows += documented;
    }
    (tables, rows)
}

#[test]
fn every_attack_is_in_the_table() {
    const BEGIN: &str =
        "<!-- From tests/attacks; to make it anew: UPDATE_ATTACKS=1 cargo test --test docs attack -->\n\n";
    const END: &str = "<!-- End of what is made -->\n";
    let (made, rows) = attacks();
    assert!(rows >= 60, "{rows}");
    let document = read("docs/attacks.md");
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_ATTACKS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/attacks.md");
        fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(written == made, "docs/attacks.md is not what tests/attacks says; see the comment in it");
    }
}

/// The tables of `docs/audit.md`, from the schema of the events.
fn audit_events() -> String {
    let mut text = String::new();
    for (title, source) in [
        ("Events of requests", audit::Source::Request),
        ("Events of the operator and of background tasks", audit::Source::Background),
    ] {
        write!(text, "## {title}\n\n| Event | What happened | Fields |\n|---|---|---|\n").unwrap();
        for event in audit::Event::SCHEMA.iter().filter(|event| event.source == source) {
            let names = event.fields.iter().map(|field| {
                let mark = if field.optional { "?" } else { "" };
                format!("`{}{mark}`", field.name)
            });
            let (names, doc) = (names.collect::<Vec<_>>().join(", "), event.doc.concat());
            writeln!(text, "| `{}` |{doc} | {names} |", event.name).unwrap();
        }
        text.push('\n');
    }
    text.push_str("## Fields\n\n| Field | Type | Meaning |\n|---|---|---|\n");
    for (name, meaning) in audit::FIELDS {
        let mut fields = audit::Event::SCHEMA.iter().flat_map(|event| event.fields);
        let kind = fields.find(|field| field.name == *name).map_or("string", |field| field.kind);
        writeln!(text, "| `{name}` | {kind} | {meaning} |").unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn every_audit_event_is_in_the_table() {
    const BEGIN: &str = "<!-- Generated from crates/telemetry/src/audit/event.rs by: UPDATE_AUDIT=1 cargo test --test docs audit -->\n\n";
    const END: &str = "<!-- End of the generated part -->\n";
    let made = audit_events();
    let document = read("docs/audit.md");
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_AUDIT").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
        fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(written == made, "docs/audit.md is not what the events say; see the comment in it");
    }
}

/// The table of `docs/tools.md`, from the tools themselves.
async fn tools() -> String {
    let state = tempfile::tempdir().unwrap();
    let options = LocalOptions { state_dir: state.path().to_owned(), path: "/bin".into(), user: "nobody".into() };
    let backend = LocalWorkspaces::open(options, Arc::new(SystemClock), rng()).await.unwrap();
    let config = json!({
        "endpoint": "agents", "url": "https://mcp.example.com/mcp", "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h", "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "1h", "answeredHere": true},
        "limits": {
            "requestTimeout": "120s", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
            "maxBodySize": "4Mi"
        },
        "access": {"allowedCidrs": [], "trustedProxies": []}
    });
    let registry = Registry::new(&serde_json::from_value(config).unwrap(), Some(Arc::new(backend)));
    let names: Vec<&str> = registry.definitions().map(|definition| definition.name).collect();
    assert_eq!(names, portcullis_api::tools::TOOLS, "admission knows every tool");
    let mut table = "| Tool | Arguments | Scope | Effect | What it is for |\n|---|---|---|---|---|\n".to_owned();
    for definition in registry.definitions() {
        let scope = definition.scope.as_ref().map_or("any", |scope| Scope::as_str(*scope));
        let effect = effect(definition.effect);
        let (name, text) = (definition.name, definition.description.split_whitespace().collect::<Vec<_>>().join(" "));
        writeln!(table, "| `{name}` | {} | {scope} | {effect} | {text} |", arguments(definition)).unwrap();
    }
    table.push('\n');
    table
}

/// `workspace`, `cwd?`: the optional ones with a question mark.
fn arguments(definition: &Definition) -> String {
    let required = definition.input_schema.get("required").and_then(|names| names.as_array()).cloned();
    let required = required.unwrap_or_default();
    let names = definition.input_schema["properties"].as_object().unwrap().keys();
    let shown = names.map(|name| format!("`{name}{}`", if required.contains(&json!(name)) { "" } else { "?" }));
    shown.collect::<Vec<_>>().join(", ")
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Reads => "reads",
        Effect::Adds => "adds",
        Effect::Ensures => "ensures",
        Effect::Removes => "removes",
        Effect::Changes => "changes",
        Effect::Anything => "anything",
    }
}

#[tokio::test]
async fn every_tool_is_in_the_table() {
    const BEGIN: &str =
        "<!-- From the tools themselves; to make it anew: UPDATE_TOOLS=1 cargo test --test docs tool -->\n\n";
    const END: &str = "<!-- End of what is made -->\n";
    let made = tools().await;
    let document = read("docs/tools.md");
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_TOOLS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md");
        fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(written == made, "docs/tools.md is not what the tools say; see the comment in it");
    }
    for name in made.lines().skip(2).filter_map(|row| row.strip_prefix("| `")?.split('`').next()) {
        assert!(read("README.md").contains(&format!("`{name}`")), "README.md does not name {name}");
    }
}

/// A row of the list of parsers: what is read, and in which file and under which name the property stands.
#[test]
fn every_parser_that_meets_the_network_has_its_property() {
    let document = read("docs/attacks.md");
    let list = document.split_once("## Parsers that meet the network").unwrap().1;
    let row = Regex::new(r"(?m)^\| ([^|]+) \| `([^`|]+)` \| `(\w+)` \|$").unwrap();
    let mut parsers = 0;
    for found in row.captures_iter(list) {
        let source = read(&found[2]);
        let (_, properties) =
            source.split_once("proptest! {").unwrap_or_else(|| panic!("{} has no property", &found[2]));
        let named = format!("fn {}(", &found[3]);
        let line = properties.lines().position(|line| line.contains(&named));
        assert!(line.is_some(), "{}: {} has no property {}", &found[1], &found[2], &found[3]);
        parsers += 1;
    }
    assert_eq!(parsers, list.lines().filter(|line| line.starts_with("| ")).count() - 1, "every row is well formed");
    assert!(parsers >= 17, "{parsers}");
}
