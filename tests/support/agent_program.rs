//! The agent's program. It belongs to another package, and cargo builds only those of a test's own package for it.

use serde_json::Value;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What cargo sets for tests. It would have some dependencies built anew, and everything after them.
const FOR_TESTS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];

/// The program `portcullis-agent`, built by the first call in the profile of this test.
pub fn agent_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut cargo = Command::new(env!("CARGO"));
        // With the features that both programs have together, as tests/node/static.sh builds them.
        cargo.args(["build", "--locked", "--package", "portcullis", "--package", "portcullis-agent"]);
        cargo.args(["--bin", "portcullis-agent", "--message-format", "json-render-diagnostics", "--profile", profile]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        for (name, _) in env::vars_os() {
            if FOR_TESTS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let messages = String::from_utf8(built.stdout).unwrap();
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut programs = messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        programs.next().unwrap()
    })
}
