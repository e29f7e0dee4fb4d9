//! The tests' image is that of the Dockerfile.

use serde_json::Value;
use std::{fs, path::Path, process::Command};

#[test]
fn the_tests_image_is_what_the_dockerfile_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap().replace("\\\n", "");
    let (_, stage) = dockerfile.rsplit_once("\nFROM ").unwrap();
    let mut lines = stage.lines();
    assert_eq!(lines.next(), Some("scratch"));
    let instruction = |name: &str| stage.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();

    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("portcullis.tar");
    let made = Command::new("bash").arg(root.join("tests/node/portcullis-image.sh")).arg(&archive).output().unwrap();
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

    // One file at the root, which anybody may run and nobody may write to.
    tar(&["-xf", "portcullis.tar", "layer.tar"]);
    let listed = tar(&["--numeric-owner", "-tvf", "layer.tar"]);
    assert!(listed.starts_with("-rwxr-xr-x 0/0 ") && listed.lines().count() == 1, "{listed}");
    let copied = instruction("COPY");
    let path = entry[0].as_str().unwrap();
    assert!(copied.contains("--chown=0:0 --chmod=0755") && copied.ends_with(path), "{copied}");
    assert_eq!(listed.trim().rsplit(' ').next(), Some(&path[1..]));
}
