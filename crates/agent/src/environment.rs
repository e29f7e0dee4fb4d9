//! The environment of commands. It tells tools not to prompt, page or color their output, because no user watches a
//! terminal.

use std::{ffi::OsString, path::Path};

/// A complete environment: `given` takes precedence over the defaults below.
#[must_use]
pub fn environment(
    home: &Path,
    user: OsString,
    given: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let defaults: [(&str, OsString); 11] = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME", home.into()),
        ("USER", user.clone()),
        ("LOGNAME", user),
        ("SHELL", "/bin/sh".into()),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "dumb".into()),
        ("NO_COLOR", "1".into()),
        ("PAGER", "cat".into()),
        ("GIT_PAGER", "cat".into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
    ];
    let mut all: Vec<(OsString, OsString)> = given.into_iter().collect();
    for (name, value) in defaults {
        if !all.iter().any(|(given, _)| given == name) {
            all.push((name.into(), value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_counts_before_the_defaults() {
        let given = [("PAGER", "less"), ("OWN", "1")].map(|(name, value)| (name.into(), value.into()));
        let all = environment(Path::new("/home/dev"), "dev".into(), given);
        let value = |name: &str| {
            let mut found = all.iter().filter(|(other, _)| other == name).map(|(_, value)| value.to_str().unwrap());
            (found.next(), found.next())
        };
        assert_eq!(value("PAGER"), (Some("less"), None));
        assert_eq!(value("OWN"), (Some("1"), None));
        assert_eq!(value("HOME"), (Some("/home/dev"), None));
        assert_eq!(value("USER"), (Some("dev"), None));
    }
}
