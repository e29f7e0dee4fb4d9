//! `docs/crds.md` is what `tests/docs/crd_reference.py` makes of the custom resource definitions.

use crate::read;
use portcullis_api::crds;
use std::{
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

const BEGIN: &str = "<!-- Generated from crates/api by: UPDATE_CRDS=1 cargo test --test docs reference -->\n\n";
const END: &str = "<!-- End of the generated part -->\n";

/// The tables, by the script.
fn tables() -> String {
    let definitions = serde_json::to_vec(&crds::all()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docs/crd_reference.py");
    let mut python = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The script reads everything before it writes.
    python.stdin.take().unwrap().write_all(&definitions).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_crd_reference_is_up_to_date() {
    let made = tables();
    let document = read("docs/crds.md");
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_CRDS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crds.md");
        fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(written == made, "docs/crds.md is not what the definitions say; see the comment in it");
    }
}
