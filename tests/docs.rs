//! What the papers say is what the code does, where a test can tell.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as tests do")]

use portcullis::api::Preset;
use std::{collections::BTreeSet, fs, path::Path};

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
        } else if section.ends_with("dependencies]") && !line.is_empty() {
            used.insert(line.split(" =").next().unwrap());
        }
    }
    let reasons = read("docs/dependencies.md");
    let named: BTreeSet<&str> =
        first_cells(&reasons).flat_map(|cell| cell.split(", ")).filter(|name| *name != "crate").collect();
    assert_eq!(named, used);
}

#[test]
fn every_preset_is_described_with_its_callbacks() {
    use Preset::{Chatgpt, Claude, ClaudeCode, Cursor, Custom, GeminiCli, Vscode};
    let document = read("docs/clients.md");
    for preset in [Claude, Chatgpt, ClaudeCode, Cursor, Vscode, GeminiCli, Custom] {
        let name = serde_json::to_value(preset).unwrap();
        let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", name.as_str().unwrap()))).unwrap();
        assert!(row.contains(&format!("| {:?} |", preset.client_type())), "{row}");
        for callback in preset.redirect_uris() {
            assert!(row.contains(&format!("`{callback}`")), "{callback} is missing in: {row}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let papers = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root.join(name));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for paper in papers.into_iter().chain(docs).filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&paper).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") {
                let target = paper.parent().unwrap().join(link);
                assert!(target.exists(), "{}: {link}", paper.display());
            }
        }
    }
}
