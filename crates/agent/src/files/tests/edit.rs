//! Edits replace the intended text, or fail with an error that helps to find it.

use crate::files::tests::{Home, assert_failed};
use crate::{
    files::{edit::edit, hint::line_at},
    protocol::{EditFile, FailureKind},
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
};

fn change(old: &str, new: &str) -> EditFile {
    EditFile { path: "f".to_owned(), old_text: old.to_owned(), new_text: new.to_owned(), replace_all: false }
}

fn all(old: &str, new: &str) -> EditFile {
    EditFile { replace_all: true, ..change(old, new) }
}

/// Text from a few parts, so that they occur more than once.
fn some_text(parts: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(select(parts), 0..most).prop_map(|parts| parts.concat())
}

/// The number of occurrences of `old` in `text`, including overlapping ones.
fn count(text: &str, old: &str) -> usize {
    (0..text.len()).filter(|place| text.is_char_boundary(*place) && text[*place..].starts_with(old)).count()
}

/// Edits a file with `text`, and compares the outcome with the expected one.
fn check(text: &str, request: &EditFile, places: usize, expected: &str) -> Result<(), TestCaseError> {
    let home = Home::new();
    home.file("f", text);
    let result = edit(&home.tree, request);
    let sensible = !request.old_text.is_empty() && request.old_text != request.new_text;
    if !(sensible && (places == 1 || places > 1 && request.replace_all)) {
        prop_assert!(result.is_err());
        prop_assert_eq!(home.content("f"), text);
        return Ok(());
    }
    let edited = result.unwrap();
    prop_assert_eq!(home.content("f"), expected);
    let patch = diffy::Patch::from_str(&edited.diff).unwrap();
    prop_assert_eq!(diffy::apply(text, &patch).unwrap(), expected);
    Ok(())
}

proptest! {
    #[test]
    fn it_does_what_a_simple_replacement_does(
        text in some_text(&["a", "b", "é", "\n", "ab\n"], 30),
        old in some_text(&["a", "b", "é", "\n"], 4),
        new in some_text(&["a", "c", "\n", "€"], 4),
        replace_all: bool,
    ) {
        let request = EditFile { replace_all, ..change(&old, &new) };
        check(&text, &request, if old.is_empty() { 0 } else { count(&text, &old) }, &text.replace(&old, &new))?;
    }

    #[test]
    fn in_a_crlf_file_line_feeds_stand_for_its_line_ends(
        text in some_text(&["a", "b", "é", "\n", "ab\n"], 30),
        old in some_text(&["a", "b", "é", "\n"], 4),
        new in some_text(&["a", "c", "\n", "€"], 4),
        replace_all: bool,
    ) {
        prop_assume!(text.contains('\n'));
        let request = EditFile { replace_all, ..change(&old, &new) };
        let places = if old.is_empty() { 0 } else { count(&text, &old) };
        let crlf = |text: &str| text.replace('\n', "\r\n");
        check(&crlf(&text), &request, places, &crlf(&text.replace(&old, &new)))?;
    }

    #[test]
    fn carriage_returns_are_taken_as_they_are(
        text in some_text(&["a", "b", "\r", "\r\n", "\n"], 30),
        old in some_text(&["a", "b", "\n"], 3),
        new in some_text(&["a", "\r\n", "\n"], 4),
        replace_all: bool,
    ) {
        let old = format!("{old}\r");
        let request = EditFile { replace_all, ..change(&old, &new) };
        check(&text, &request, count(&text, &old), &text.replace(&old, &new))?;
    }
}

#[test]
fn line_ends_stay_as_they_are() {
    let rows = [
        ("mixed, the part has CRLF", "a\nb\r\nc\r\nd\n", change("b\nc", "x\ny"), "a\nx\r\ny\r\nd\n"),
        ("mixed, the part has LF", "a\r\nb\nc\n", change("b\nc", "x\ny"), "a\r\nx\ny\n"),
        ("a line more in a CRLF file", "a\r\nb\r\n", change("b", "b\nc"), "a\r\nb\r\nc\r\n"),
        ("CRLF becomes LF where that is asked for", "a\r\nb\r\n", all("\r\n", "\n"), "a\nb\n"),
        ("no last line feed", "a\nb", change("b", "c"), "a\nc"),
        ("deleted", "a\nb\n", change("a\n", ""), "b\n"),
        (
            "look-alikes with line ends of either kind",
            "k\r\nfoo\nx\r\nfoo\r\nx\r\n",
            all("foo\nx", "bar\ny"),
            "k\r\nbar\ny\r\nbar\r\ny\r\n",
        ),
        ("each line keeps its own end", "a\r\nb\nc\r\nd", change("a\nb\nc", "a\nB\nc"), "a\r\nB\nc\r\nd"),
        ("more lines than before", "a\nb\r\nc", change("a\nb\n", "a\nb\nb\n"), "a\nb\r\nb\r\nc"),
        ("the last line ends as the one before", "a\nb\r\nc", change("c", "c\nd"), "a\nb\r\nc\r\nd"),
        ("a line in between", "a\nb\r\nc\n", all("b", "b\nB"), "a\nb\r\nB\r\nc\n"),
        ("a carriage return that is asked for", "a\r\nb\r\n", change("a\n", "x\r\n\n"), "x\r\n\nb\r\n"),
    ];
    for (what, text, request, expected) in rows {
        let home = Home::new();
        home.file("f", text);
        edit(&home.tree, &request).unwrap();
        assert_eq!(home.content("f"), expected, "{what}");
    }
}

#[test]
fn it_says_what_is_wrong_and_where_to_look() {
    let text = "fn main() {\n    let total = 1;\n\tprintln!(\"{total}\");\n}\n\nfn Other() {\n    let total = 1;\n}\n";
    let aaa = "a\n".repeat(150);
    let not_there = "old_text does not occur in /home/f: ";
    let rows = [
        (text, change("", "x"), FailureKind::Invalid, "old_text is empty: pass the text to replace; write_file writes a whole file".to_owned()),
        (text, change("main", "main"), FailureKind::Invalid, "old_text and new_text are the same: nothing would change".to_owned()),
        (
            text,
            change("let total", "x"),
            FailureKind::Conflict,
            "old_text occurs 2 times in /home/f, at the lines 2, 7: add surrounding lines until it is unique, or set replace_all".to_owned(),
        ),
        (
            &aaa,
            change("a\n", "x"),
            FailureKind::Conflict,
            "old_text occurs at least 100 times in /home/f, at the lines 1, 2, 3, 4, 5, …: add surrounding lines until it is unique, or set replace_all".to_owned(),
        ),
        (
            "foo\nx\r\nfoo\r\ny\r\n",
            change("foo\n", "x"),
            FailureKind::Conflict,
            "old_text occurs 2 times in /home/f, at the lines 1, 3: add surrounding lines until it is unique, or set replace_all".to_owned(),
        ),
        (
            "aaa",
            change("aa", "x"),
            FailureKind::Conflict,
            "old_text occurs 2 times in /home/f, at the lines 1, 1: add surrounding lines until it is unique, or set replace_all".to_owned(),
        ),
        (
            text,
            change("let total = 1;\n    println!(\"{total}\");\n", "x"),
            FailureKind::Conflict,
            format!("{not_there}it differs in white space only from the text at line 2. Copy that text exactly, with its indentation: `    let total = 1;`"),
        ),
        (
            text,
            change("FN OTHER()", "x"),
            FailureKind::Conflict,
            format!("{not_there}it differs in upper and lower case only from the text at line 6"),
        ),
        (
            text,
            change("fn main() {\n    let total = 2;\n", "x"),
            FailureKind::Conflict,
            format!("{not_there}it begins like line 1, but where it continues with `    let total = 2;`, line 2 has `    let total = 1;`"),
        ),
        (
            text,
            change("    let total = 1;\n}\nmore", "x"),
            FailureKind::Conflict,
            format!("{not_there}it begins like line 7, but where it continues with `more`, line 9 has nothing more"),
        ),
        (
            text,
            change("struct Nothing", "x"),
            FailureKind::Conflict,
            format!("{not_there}no line resembles its first line. Read the file again: it may have changed"),
        ),
        (
            text,
            all("\n\n\n", "x"),
            FailureKind::Conflict,
            format!("{not_there}it consists of white space only, which must match exactly"),
        ),
        (
            "",
            change("x", "y"),
            FailureKind::Conflict,
            format!("{not_there}no line resembles its first line. Read the file again: it may have changed"),
        ),
    ];
    for (text, request, kind, message) in rows {
        let home = Home::new();
        home.file("f", text);
        assert_failed(&home, edit(&home.tree, &request), kind, &message);
        assert_eq!(home.content("f"), text);
    }
}

#[test]
fn text_that_repeats_itself_is_not_compared_for_ever() {
    let home = Home::new();
    home.file("f", "a\n".repeat(400_000));
    let failure = edit(&home.tree, &change(&("a\n".repeat(200_000) + "b"), "x")).unwrap_err();
    assert!(failure.message.contains("it begins like line 1, but where it continues with `b`"), "{failure}");
}

#[test]
fn only_text_of_a_sensible_size_is_edited() {
    let home = Home::new();
    home.file("f", b"a\xff");
    let message = "/home/f is not UTF-8 text: use a command to change it";
    assert_failed(&home, edit(&home.tree, &change("a", "b")), FailureKind::Conflict, message);
    home.file("f", "a".repeat(1024));
    let message = "the file would have 17825792 bytes, and at most 16777216 can be written at once: write the first part, then append the others with append, or create the file by a command";
    assert_failed(&home, edit(&home.tree, &all("a", &"b".repeat(17 * 1024))), FailureKind::TooLarge, message);
    fs::File::create(home.at("f")).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    let message = "/home/f has 16777217 bytes, and at most 16777216 can be edited: use a command such as sed";
    assert_failed(&home, edit(&home.tree, &change("a", "b")), FailureKind::TooLarge, message);
    fs::remove_file(home.at("f")).unwrap();
    let message = "cannot read /home/f: no such file or folder";
    assert_failed(&home, edit(&home.tree, &change("a", "b")), FailureKind::NotFound, message);
}

#[test]
fn the_diff_shows_the_lines_around() {
    let home = Home::new();
    home.file("f", "1\n2\n3\n4\n5\n6\n7\n8\n9");
    fs::set_permissions(home.at("f"), Permissions::from_mode(0o751)).unwrap();
    let edited = edit(&home.tree, &change("9", "nine\n")).unwrap();
    let (_, hunks) = edited.diff.split_once("+++ ").unwrap();
    let (name, hunks) = hunks.split_once('\n').unwrap();
    assert_eq!(name, "b/f");
    assert_eq!(hunks, "@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n\\ No newline at end of file\n+nine\n");
    assert_eq!(fs::metadata(home.at("f")).unwrap().permissions().mode() & 0o777, 0o751);
}

#[test]
fn a_long_diff_is_shortened() {
    let home = Home::new();
    home.file("f", "line\n".repeat(1000));
    let edited = edit(&home.tree, &all("line", "row")).unwrap();
    assert_eq!(edited.replacements, 1000);
    assert!(edited.diff.ends_with("[… 1800 more lines of the diff omitted …]\n"), "{}", edited.diff);
    home.file("f", "é".repeat(1000));
    let edited = edit(&home.tree, &all("é", "e")).unwrap();
    assert!(edited.diff.contains("éé[… 1500 more bytes …]\n"), "{}", edited.diff);
    assert!(edited.diff.len() < 2000);
}

#[test]
fn edits_at_once_do_not_undo_each_other() {
    let home = Arc::new(Home::new());
    let text: String = (0..16).flat_map(|number| ["<".to_owned(), number.to_string(), ">\n".to_owned()]).collect();
    home.file("f", &text);
    let edits: Vec<_> = (0..16)
        .map(|number| {
            let home = Arc::clone(&home);
            std::thread::spawn(move || {
                edit(&home.tree, &change(&format!("<{number}>"), &format!("[{number}]"))).unwrap()
            })
        })
        .collect();
    for edit in edits {
        assert_eq!(edit.join().unwrap().replacements, 1);
    }
    assert_eq!(home.content("f"), text.replace('<', "[").replace('>', "]"));
}

#[test]
fn lines_are_counted_from_one() {
    assert_eq!([0, 1, 2, 3].map(|place| line_at("a\nb\n", place)), [1, 1, 2, 2]);
}
