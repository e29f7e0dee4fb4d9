//! The arguments of `cp`: a local path, or `WORKSPACE:PATH`.

use std::{path::PathBuf, str::FromStr};

/// A file that `cp` reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A path on this machine.
    Local(PathBuf),
    /// A path in a workspace.
    Workspace {
        /// The name or id of the workspace.
        workspace: String,
        /// The path, from the home folder.
        path: String,
    },
}

/// Why a text is not a location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The text is empty, or has no path after the colon.
    #[error("{0:?} has no path; write a local path, or WORKSPACE:PATH such as web:src/main.rs")]
    NoPath(String),
}

impl FromStr for Location {
    type Err = LocationError;

    /// A colon after a name makes it a path in a workspace. `./a:b` is a local path with a colon.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        match text.split_once(':') {
            Some((workspace, path)) if !workspace.is_empty() && !workspace.contains('/') => {
                if path.is_empty() {
                    return Err(LocationError::NoPath(text.to_owned()));
                }
                Ok(Self::Workspace { workspace: workspace.to_owned(), path: path.to_owned() })
            }
            _ if text.is_empty() => Err(LocationError::NoPath(text.to_owned())),
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

/// The target of a copy: if it is a folder by its form, the file in it with the name of the source.
pub(super) fn target_path(target: &str, source_name: &str) -> String {
    match target {
        "." | "~" => source_name.to_owned(),
        folder if folder.ends_with('/') => format!("{folder}{source_name}"),
        file => file.to_owned(),
    }
}

/// The last segment of a path in a workspace.
pub(super) fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_after_a_name_means_a_workspace() {
        let remote = |workspace: &str, path: &str| {
            Ok(Location::Workspace { workspace: workspace.to_owned(), path: path.to_owned() })
        };
        let local = |path: &str| Ok(Location::Local(path.into()));
        for (text, expected) in [
            ("web:src/a.rs", remote("web", "src/a.rs")),
            ("web:/tmp/a:b", remote("web", "/tmp/a:b")),
            ("a.rs", local("a.rs")),
            ("./a:b", local("./a:b")),
            ("/tmp/a:b", local("/tmp/a:b")),
            (":a", local(":a")),
            ("web:", Err(LocationError::NoPath("web:".to_owned()))),
            ("", Err(LocationError::NoPath(String::new()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn a_folder_gets_the_name_of_the_source() {
        assert_eq!(target_path("src/", "a.rs"), "src/a.rs");
        assert_eq!(target_path(".", "a.rs"), "a.rs");
        assert_eq!(target_path("src/b.rs", "a.rs"), "src/b.rs");
        assert_eq!(
            (file_name("src/a.rs"), file_name("a"), file_name("src/"), file_name("..")),
            (Some("a.rs"), Some("a"), None, None)
        );
    }
}
