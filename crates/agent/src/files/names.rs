//! Paths as text: relative to the home folder, or absolute outside of it, so that a path in an answer can be passed to
//! any other tool. A name that is not UTF-8 is percent-encoded (RFC 3986 §2.1).

use percent_encoding::percent_decode;
use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path},
    str,
};

/// The text of a path for answers. `home` and `path` are absolute and without links.
pub(super) fn shown(home: &Path, path: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
        Ok(relative) => text(relative),
        Err(_) => text(path),
    }
}

fn text(path: &Path) -> String {
    if let Some(text) = path.to_str() {
        return text.to_owned();
    }
    let mut text = String::new();
    for component in path.components() {
        if !text.is_empty() && !text.ends_with('/') {
            text.push('/');
        }
        match component {
            Component::RootDir => text.push('/'),
            other => push(&mut text, other.as_os_str()),
        }
    }
    text
}

/// Appends a name. If it is not UTF-8, its invalid bytes and percent signs are encoded.
fn push(text: &mut String, name: &OsStr) {
    if let Some(name) = name.to_str() {
        text.push_str(name);
        return;
    }
    for chunk in name.as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// Decodes a name that is not UTF-8 from the text `name`; `None` if `name` is not the encoding of such a name.
pub(super) fn decoded(name: &OsStr) -> Option<OsString> {
    let shown = name.to_str().filter(|name| name.contains('%'))?;
    let bytes: Vec<u8> = percent_decode(shown.as_bytes()).collect();
    str::from_utf8(&bytes).is_err().then_some(())?;
    let name = OsString::from_vec(bytes);
    let mut again = String::new();
    push(&mut again, &name);
    (again == shown).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_home_and_names_of_any_bytes_come_back() {
        for (path, expected) in [
            (&b"/home"[..], "."),
            (b"/home/a/b%20c", "a/b%20c"),
            (b"/homes/a", "/homes/a"),
            (b"/etc/hosts", "/etc/hosts"),
            (b"/home/caf\xe9.txt", "caf%E9.txt"),
            (b"/home/%ff/100%\xc3\xa9\xff", "%ff/100%25é%FF"),
            (b"/\xff/x", "/%FF/x"),
        ] {
            assert_eq!(shown(Path::new("/home"), Path::new(OsStr::from_bytes(path))), expected);
        }
        for (shown, name) in [
            ("caf%E9.txt", Some(&b"caf\xe9.txt"[..])),
            ("100%25é%FF", Some(b"100%\xc3\xa9\xff")),
            // UTF-8, or not encoded in the same way as in answers.
            ("a%20b", None),
            ("caf%e9", None),
            ("100%é%FF", None),
            ("%C3%A9", None),
            ("plain", None),
        ] {
            assert_eq!(decoded(OsStr::new(shown)).map(OsString::into_vec).as_deref(), name, "{shown}");
        }
    }
}
