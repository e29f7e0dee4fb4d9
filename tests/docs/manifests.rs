//! The manifests in README.md and docs/*.md are what admission and `portcullis dev` accept.

use crate::read;
use portcullis_api::{
    GROUP, McpEndpoint, OAuthClient, OAuthGrant, OAuthUser, VERSION, Workspace, WorkspaceTemplate,
    faults::faults,
    validation::{Violation, admit},
};
use serde_json::Value;
use std::{fs, path::Path};

/// The YAML blocks of a document, each with the number of its first line. Those in lists are indented.
fn yaml_blocks(document: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(indent) = line.strip_suffix("```yaml").filter(|indent| indent.trim().is_empty()) {
            let block = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            let block = block.flat_map(|line| [line.strip_prefix(indent).unwrap_or(line), "\n"]).collect();
            blocks.push((number + 2, block));
        }
    }
    blocks
}

/// What admission, or the operator in the status of a template, says against a manifest.
fn problems(manifest: &Value) -> Vec<String> {
    let kind = manifest["kind"].as_str().unwrap_or_default();
    let refused = |violations: Vec<Violation>| violations.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = match kind {
        "McpEndpoint" => admit::<McpEndpoint>(manifest.clone()).err().map(refused),
        "OAuthClient" => admit::<OAuthClient>(manifest.clone()).err().map(refused),
        "OAuthGrant" => admit::<OAuthGrant>(manifest.clone()).err().map(refused),
        "OAuthUser" => admit::<OAuthUser>(manifest.clone()).err().map(refused),
        "Workspace" => admit::<Workspace>(manifest.clone()).err().map(refused),
        "WorkspaceTemplate" => match admit::<WorkspaceTemplate>(manifest.clone()) {
            Ok(template) => Some(faults(&template.spec).iter().map(ToString::to_string).collect()),
            Err(violations) => Some(refused(violations)),
        },
        _ => Some(vec![format!("there is no kind {kind:?}")]),
    };
    found.unwrap_or_default()
}

#[test]
fn manifests_in_documents_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = documents.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    documents.push(root.join("README.md"));
    documents.sort();
    let version = format!("{GROUP}/{VERSION}");
    let (mut checked, mut found) = (0, Vec::new());
    for path in documents {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        let blocks = yaml_blocks(&read(name));
        for (line, block) in blocks.into_iter().filter(|(_, block)| block.contains(&version)) {
            for document in serde_saphyr::read::<_, Value>(&mut block.as_bytes()) {
                let document = document.unwrap_or_else(|error| panic!("{name}:{line}: {error}"));
                if document["apiVersion"] == version {
                    checked += 1;
                    found.extend(problems(&document).into_iter().map(|problem| format!("{name}:{line}: {problem}")));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(checked >= 14, "{checked}");
}

#[test]
fn a_wrong_manifest_is_found() {
    let template = |env: &str| {
        let text = format!(
            "```yaml\napiVersion: portcullis.dev/v1alpha1\nkind: WorkspaceTemplate\nmetadata: {{name: a}}\nspec:\n  \
             pod: {{image: debian, env: [{{name: A, {env}}}]}}\n```\n"
        );
        let blocks = yaml_blocks(&text);
        assert_eq!((blocks.len(), blocks[0].0), (1, 2));
        problems(&serde_saphyr::from_str(&blocks[0].1).unwrap())
    };
    assert_eq!(template("value: b"), Vec::<String>::new());
    let listed = yaml_blocks("1. text\n\n   ```yaml\n   a:\n     b: 1\n\n   ```\n\n2. text\n");
    assert_eq!(listed, [(4, "a:\n  b: 1\n\n".to_owned())]);
    for wrong in ["valu: b", "value: b, secretKeyRef: {name: c, key: d}", "value: $(parameters.b)"] {
        assert_eq!(template(wrong).len(), 1, "{wrong}");
    }
}
