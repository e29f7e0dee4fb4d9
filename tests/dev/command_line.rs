//! The command line itself: help with examples, versions, completion, manual pages.

use serde_json::Value;
use std::{fs, process::Command};

/// The commands that people see.
const COMMANDS: [&str; 9] =
    ["operator", "serve", "dev", "validate", "htpasswd", "crds", "completion", "man", "version"];

fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_teaches() {
    let help = run(&["--help"]);
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {help}");
    }
    assert!(help.contains("Examples:\n  portcullis dev examples/quickstart.yaml "), "{help}");
    for command in ["dev", "doctor", "validate", "htpasswd", "crds", "completion", "man"] {
        let help = run(&[command, "--help"]);
        let examples = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{command} has no examples: {help}"));
        assert!(examples.contains(&format!("portcullis {command}")), "{help}");
        assert!(examples.lines().all(|line| line.len() <= 120), "{help}");
    }
}

#[test]
fn versions_are_for_people_and_for_programs() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]), format!("portcullis {version}\n"));
    assert_eq!(run(&["--version"]), format!("portcullis {version}\n"));
    let facts: Value = serde_json::from_str(&run(&["version", "--json"])).unwrap();
    assert_eq!((&facts["version"], &facts["apiVersion"]), (&version.into(), &"portcullis.dev/v1alpha1".into()));
    assert_eq!((&facts["os"], &facts["arch"]), (&std::env::consts::OS.into(), &std::env::consts::ARCH.into()));
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completion", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), run(&["completion", "bash"])).unwrap();
    let words =
        "COMP_WORDS=(portcullis val); COMP_CWORD=1; _portcullis portcullis val portcullis; echo \"${COMPREPLY[*]}\"";
    let line = format!("source {}; {words}", script.path().display());
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "validate\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    assert!(run(&["man"]).contains(".TH portcullis 1"));
    let folder = tempfile::tempdir().unwrap();
    run(&["man", "--output", folder.path().to_str().unwrap()]);
    for command in COMMANDS {
        let page = fs::read_to_string(folder.path().join(format!("portcullis-{command}.1"))).unwrap();
        assert!(page.contains("NAME"), "{command}: {page}");
    }
    assert!(folder.path().join("portcullis.1").is_file());
}
