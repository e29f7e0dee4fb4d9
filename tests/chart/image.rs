//! The tests' images are those of the Dockerfile.

use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// The image that a stage of the Dockerfile begins with `from` makes, as the script makes it with these arguments.
fn is_what_the_dockerfile_says(from: &str, args: &[&str], files: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap().replace("\\\n", "");
    let mut stages = dockerfile.split("\nFROM ").filter_map(|stage| stage.strip_prefix(&format!("{from}\n")));
    let stage = stages.next().unwrap();
    let instructions =
        |name: &str| -> Vec<&str> { stage.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect() };
    let instruction = |name: &str| instructions(name)[0];

    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("portcullis.tar");
    let script = root.join("tests/node/portcullis-image.sh");
    let made = Command::new("bash").arg(script).arg(&archive).args(args).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tar = |args: &[&str]| {
        let output = Command::new("tar").current_dir(folder.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let config: Value = serde_json::from_str(&tar(&["-xOf", "portcullis.tar", "config.json"])).unwrap();
    let config = &config["config"];

    let entry: Value = serde_json::from_str(instruction("ENTRYPOINT")).unwrap();
    assert_eq!((&config["Entrypoint"], config["User"].as_str()), (&entry, Some(instruction("USER"))));
    assert_eq!(config["User"], "65532:65532");
    let labels = config["Labels"].as_object().unwrap();
    for (label, value) in labels {
        let value = value.as_str().unwrap();
        assert!(!value.contains('$') && instruction("LABEL").contains(label.as_str()), "{label}={value}");
    }
    assert_eq!(labels.len(), instruction("LABEL").matches("org.opencontainers.image.").count());

    // Files at the root, which anybody may run and nobody may write to.
    tar(&["-xf", "portcullis.tar", "layer.tar"]);
    let listed = tar(&["--numeric-owner", "-tvf", "layer.tar"]);
    let copied = instructions("COPY");
    assert_eq!((listed.lines().count(), copied.len()), (files.len(), files.len()), "{listed}");
    for ((listed, copied), file) in listed.lines().zip(copied).zip(files) {
        assert!(listed.starts_with("-rwxr-xr-x 0/0 ") && listed.ends_with(&format!(" {file}")), "{listed}");
        assert!(copied.contains("--chown=0:0 --chmod=0755") && copied.ends_with(&format!(" /{file}")), "{copied}");
    }
    assert_eq!(entry, serde_json::json!([format!("/{}", files.last().unwrap())]));
}

#[test]
fn the_tests_image_is_what_the_dockerfile_says() {
    is_what_the_dockerfile_says("scratch", &[], &["portcullis-agent", "portcullis"]);
}

#[test]
fn the_tests_image_of_the_agent_is_what_the_dockerfile_says() {
    is_what_the_dockerfile_says("scratch AS agent", &["agent"], &["portcullis-agent"]);
}
