//! The commands of README.md and docs/*.md: `tests/docs/commands.py` compares them with a table, and runs those that need no
//! cluster. Those that need one run in `tests/cluster/documented.rs`.

use std::{path::Path, process::Command};

/// Runs the script. What it prints.
fn script(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docs/commands.py");
    let output = Command::new("python3").arg("-B").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_of_the_documents_is_in_the_table() {
    script(&["self-test"]);
    let count: usize = script(&["check"]).trim().parse().unwrap();
    assert!(count >= 80, "{count}");
}

#[test]
fn commands_that_need_the_program_alone_succeed() {
    script(&["run", "alone", env!("CARGO_BIN_EXE_portcullis")]);
}

#[test]
fn commands_that_need_an_endpoint_succeed() {
    script(&["run", "dev", env!("CARGO_BIN_EXE_portcullis")]);
}
