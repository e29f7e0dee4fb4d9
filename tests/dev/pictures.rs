//! The pictures of README.md: they exist and are small, and the script that makes them still works.

use crate::helpers::path;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// The pictures in a folder, with their sizes in bytes.
fn pictures(folder: &Path) -> BTreeMap<String, u64> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()));
    files.filter(|(name, _)| Path::new(name).extension().is_some_and(|end| end == "png" || end == "svg")).collect()
}

#[test]
fn the_script_makes_the_pictures_that_the_readme_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .arg("-B")
        .arg(root.join("docs/pictures/make.py"))
        .args([env!("CARGO_BIN_EXE_portcullis"), path(folder.path())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (made, kept) = (pictures(folder.path()), pictures(&root.join("docs/pictures")));
    assert_eq!(made.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    assert!(kept.len() <= 5, "{kept:?}");
    for (name, size) in made.iter().chain(&kept) {
        assert!((2_000..100_000).contains(size), "{name}: {size} bytes");
    }
    let terminal = fs::read_to_string(folder.path().join("terminal.svg")).unwrap();
    for text in
        ["portcullis dev examples/quickstart.yaml", "http://127.0.0.1:8080/mcp", "whoami answered", " 0 failures"]
    {
        assert!(terminal.contains(text), "{text}: {terminal}");
    }

    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let shown: Vec<&str> =
        readme.split("(docs/pictures/").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(!shown.is_empty());
    for name in shown {
        assert!(kept.contains_key(name), "README.md shows {name}; `make pictures` does not make it");
    }
}
