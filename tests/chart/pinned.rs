//! What comes from outside is pinned by digest, and the workflows name scripts that exist.

use regex::Regex;
use serde_json::Value;
use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The steps of all jobs of a workflow, with the job's name.
fn steps(workflow: &str) -> Vec<(String, Value)> {
    let text = fs::read_to_string(root().join(".github/workflows").join(workflow)).unwrap();
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    let of_job = |(name, job): (&String, &Value)| {
        job["steps"].as_array().unwrap().iter().map(|step| (name.clone(), step.clone())).collect::<Vec<_>>()
    };
    workflow["jobs"].as_object().unwrap().iter().flat_map(of_job).collect()
}

#[test]
fn actions_and_base_images_are_pinned_by_digest() {
    let commit = Regex::new("^[a-z]+/[a-z-]+@[0-9a-f]{40}$").unwrap();
    let mut actions = 0;
    for workflow in ["ci.yaml", "release.yml"] {
        for (_, step) in steps(workflow) {
            if let Some(action) = step["uses"].as_str() {
                assert!(commit.is_match(action), "{workflow}: {action} is not pinned by commit");
                actions += 1;
            }
        }
    }
    assert!(actions >= 10, "{actions}");
    let image = Regex::new("^FROM (scratch|[^ @]+@sha256:[0-9a-f]{64})( AS [a-z]+)?$").unwrap();
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    for line in dockerfile.lines().filter(|line| line.starts_with("FROM ")) {
        assert!(image.is_match(line), "{line} is not pinned by digest");
    }
}

#[test]
fn the_workflow_of_releases_runs_scripts_that_exist() {
    let script = Regex::new(r"bash ((?:release|tests)/[a-z/-]+\.sh)").unwrap();
    let mut named = Vec::new();
    for (_, step) in steps("release.yml") {
        let Some(run) = step["run"].as_str() else { continue };
        for found in script.captures_iter(run) {
            assert!(root().join(&found[1]).is_file(), "{} does not exist", &found[1]);
            named.push(found[1].to_owned());
        }
    }
    for script in ["version", "programs", "assemble", "publish", "sign", "notes"] {
        assert!(named.contains(&format!("release/{script}.sh")), "{script} is not run: {named:?}");
    }
}

#[test]
fn only_the_job_that_publishes_may_write() {
    let text = fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        assert_eq!(job.get("permissions").is_some(), name == "publish", "{name}");
    }
    assert_eq!(workflow["jobs"]["publish"]["if"], "github.event_name == 'push' && github.ref_type == 'tag'");
}
