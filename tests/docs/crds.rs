//! `crds/` is what `portcullis crds` writes.

use portcullis::cli::crds::{CrdsArgs, run};
use std::{collections::BTreeMap, fs, io, path::Path};

/// File names and texts.
fn files(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs::read_to_string(path)?))
        })
        .collect()
}

#[test]
fn the_files_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    run(&CrdsArgs { output: Some(folder.path().to_owned()) }).unwrap();
    let kept = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")).unwrap();
    let made = files(folder.path()).unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (name, text) in made {
        assert!(kept[&name] == text, "crds/{name} is out of date; run `make crds`");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = run(&CrdsArgs { output: Some(file.path().join("crds")) }).unwrap_err();
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}
