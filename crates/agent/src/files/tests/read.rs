//! Reading: any part of any regular file, and nothing else.

use crate::files::tests::{Home, assert_failed};
use crate::{
    files::read::read,
    protocol::{Encoding, FailureKind, FileContent, ReadFile},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{sys::stat::Mode, unistd::mkfifo};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{fs::File, os::unix::net::UnixListener};

fn whole(path: &str) -> ReadFile {
    ReadFile { path: path.to_owned(), ..ReadFile::default() }
}

fn by_lines(path: &str, first: u64, last: Option<u64>) -> ReadFile {
    ReadFile { start_line: Some(first), end_line: last, ..whole(path) }
}

fn decoded(content: &FileContent) -> Vec<u8> {
    match content.encoding {
        Encoding::Utf8 => content.content.clone().into_bytes(),
        Encoding::Base64 => STANDARD.decode(&content.content).unwrap(),
    }
}

/// Files that are hard to cut: both kinds of line ends or none, characters of all lengths, bytes that are not text.
fn some_content() -> impl Strategy<Value = Vec<u8>> {
    let text =
        select(vec![&b"a"[..], b"bc", b"\n", b"\n", b"\r\n", b"\r", "é".as_bytes(), "€".as_bytes(), "😀".as_bytes()]);
    let bytes = select(vec![&b"a\n"[..], b"\0", b"\xff", b"\xe2\x82", b"\n", "😀".as_bytes()]);
    prop_oneof![
        3 => vec(text, 0..40).prop_map(|parts| parts.concat()),
        1 => vec(bytes, 0..20).prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #[test]
    fn what_was_cut_can_be_read_on(content in some_content(), max in 1_u64..30) {
        let home = Home::new();
        home.file("f", &content);
        let mut read_so_far = Vec::new();
        let mut request = ReadFile { max_bytes: Some(max), ..whole("f") };
        for _ in 0..=content.len() {
            let part = match read(&home.tree, &request) {
                Ok(part) => part,
                Err(failure) => {
                    // Only text has lines: the error names the offset at which to continue.
                    let expected = format!("start_byte {} ", read_so_far.len());
                    prop_assert!(failure.message.contains(&expected), "{}", failure);
                    let start_byte = Some(read_so_far.len() as u64);
                    request = ReadFile { start_line: None, start_byte, ..request };
                    continue;
                }
            };
            let bytes = decoded(&part);
            prop_assert!(bytes.len() as u64 <= max.max(4));
            prop_assert_eq!(part.size, content.len() as u64);
            read_so_far.extend(bytes);
            prop_assert_eq!(part.truncated, read_so_far.len() < content.len());
            if !part.truncated {
                break;
            }
            request = ReadFile { start_line: part.next_start_line, start_byte: part.next_start_byte, ..request };
        }
        prop_assert_eq!(read_so_far, content);
    }

    #[test]
    fn any_window_has_just_its_lines(content in some_content(), first in 1_usize..12, count in 1_usize..12) {
        let Ok(text) = String::from_utf8(content).map(|text| text.replace('\0', "")) else { return Ok(()) };
        let home = Home::new();
        home.file("f", &text);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let last = first + count - 1;
        let result = read(&home.tree, &by_lines("f", first as u64, Some(last as u64)));
        if lines.len() < first && first > 1 {
            let message = format!("/home/f has {} lines: start_line is after its end", lines.len());
            assert_failed(&home, result, FailureKind::Invalid, &message);
            return Ok(());
        }
        let part = result.unwrap();
        let last = last.min(lines.len());
        prop_assert_eq!(&part.content, &lines[first - 1..last].concat());
        let shown = (!lines.is_empty()).then_some((first as u64, last as u64));
        prop_assert_eq!(part.start_line.zip(part.end_line), shown);
        prop_assert_eq!(part.truncated, last < lines.len());
        prop_assert_eq!(part.next_start_line, part.truncated.then_some(last as u64 + 1));
    }
}

#[test]
fn what_is_no_text_comes_as_bytes_with_its_type() {
    let home = Home::new();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let rows: [(&str, &[u8], Encoding, &str); 9] = [
        ("a.txt", b"text", Encoding::Utf8, "text/plain"),
        ("a.ts", b"const a = 1", Encoding::Utf8, "text/plain"),
        ("a.json", b"{}", Encoding::Utf8, "application/json"),
        ("a.svg", b"<svg/>", Encoding::Utf8, "image/svg+xml"),
        ("a.html", b"<p>", Encoding::Utf8, "text/html"),
        ("Makefile", b"", Encoding::Utf8, "text/plain"),
        ("picture", png, Encoding::Base64, "image/png"),
        ("a.wasm2", b"\xff\xfe", Encoding::Base64, "application/octet-stream"),
        ("latin.txt", b"caf\xe9", Encoding::Base64, "text/plain"),
    ];
    for (name, content, encoding, mime_type) in rows {
        home.file(name, content);
        let part = read(&home.tree, &whole(name)).unwrap();
        assert_eq!((part.encoding, part.mime_type.as_str()), (encoding, mime_type), "{name}");
        assert_eq!(decoded(&part), content, "{name}");
        assert!(!part.truncated, "{name}");
    }
}

#[test]
fn a_long_file_is_cut_after_a_line() {
    let home = Home::new();
    let line = format!("{}\n", "é".repeat(49));
    home.file("f", line.repeat(10_000));
    let part = read(&home.tree, &whole("f")).unwrap();
    assert_eq!(part.content.len(), 262_144 / line.len() * line.len());
    assert_eq!((part.start_line, part.end_line, part.next_start_line), (Some(1), Some(2647), Some(2648)));
    assert_eq!((part.truncated, part.next_start_byte, part.size), (true, None, 990_000));
    assert_eq!((part.path.as_str(), part.total_lines), ("f", Some(10_000)));
    let lines = |start_line, max_lines| ReadFile { start_line, max_lines, ..whole("f") };
    let part = read(&home.tree, &lines(None, Some(20))).unwrap();
    assert_eq!((part.end_line, part.next_start_line, part.total_lines), (Some(20), Some(21), Some(10_000)));
    let part = read(&home.tree, &lines(Some(9_990), Some(20))).unwrap();
    assert_eq!((part.end_line, part.next_start_line, part.total_lines), (Some(10_000), None, Some(10_000)));
    home.file("bytes", b"\0\xff".repeat(30));
    let bytes = read(&home.tree, &ReadFile { max_lines: Some(1), ..whole("bytes") }).unwrap();
    assert_eq!((bytes.encoding, bytes.truncated, bytes.total_lines), (Encoding::Base64, false, None));
}

#[test]
fn nothing_but_files_is_read_and_nothing_waits() {
    let home = Home::new();
    mkfifo(&home.at("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(home.at("socket")).unwrap();
    home.file("short", "one\ntwo");
    home.file("latin", b"ok\ncaf\xe9\n");
    let kinds = [
        ("pipe", "/home/pipe is a named pipe, not a file: use it by a command"),
        ("socket", "/home/socket is a socket, not a file: use it by a command"),
        (".", "/home is a folder, not a file: use list_files"),
        ("short/x", "cannot read /home/short/x: a part of the path is a file where a folder is needed"),
    ];
    for (path, message) in kinds {
        assert_failed(&home, read(&home.tree, &whole(path)), FailureKind::Conflict, message);
    }
    let message = "cannot read /home/none: no such file or folder";
    assert_failed(&home, read(&home.tree, &whole("none")), FailureKind::NotFound, message);
    let bytes = |start_byte, max_bytes| ReadFile { start_byte, max_bytes, ..whole("short") };
    let arguments = [
        (by_lines("short", 0, None), "start_line must be between 1 and 18446744073709551615, not 0"),
        (by_lines("short", 3, Some(2)), "end_line 2 is before start_line 3"),
        (by_lines("short", 3, None), "/home/short has 2 lines: start_line is after its end"),
        (bytes(Some(8), None), "/home/short has 7 bytes"),
        (bytes(None, Some(0)), "max_bytes must be between 1 and 16777216, not 0"),
        (bytes(None, Some(16_777_217)), "max_bytes must be between 1 and 16777216, not 16777217"),
        (
            ReadFile { start_byte: Some(1), ..by_lines("short", 1, None) },
            "start_byte cannot be combined with start_line and end_line: omit either",
        ),
        (
            by_lines("latin", 2, None),
            "/home/latin is not UTF-8 text there: pass start_byte 3 instead of lines to read its bytes",
        ),
    ];
    for (request, message) in arguments {
        assert_failed(&home, read(&home.tree, &request), FailureKind::Invalid, message);
    }
    assert_eq!(read(&home.tree, &by_lines("latin", 1, Some(1))).unwrap().content, "ok\n");
}

#[test]
fn only_the_part_that_is_wanted_is_loaded() {
    let home = Home::new();
    // Far larger than the memory; the file occupies no blocks on the disk.
    File::create(home.at("huge")).unwrap().set_len(1 << 40).unwrap();
    let request = ReadFile { start_byte: Some(1 << 39), max_bytes: Some(4), ..whole("huge") };
    let part = read(&home.tree, &request).unwrap();
    assert_eq!((part.content.as_str(), part.encoding), ("AAAAAA==", Encoding::Base64));
    assert_eq!(part.next_start_byte, Some((1 << 39) + 4));
}
