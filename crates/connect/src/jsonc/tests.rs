//! Edits of every layout, and of random documents.

use super::{Document, SPACE, member, remove, set};
use crate::{Change, entry::Setting};
use jsonc_parser::{JsonValue, ParseOptions, parse_to_value, tokens::Token};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value as Json};
use std::ops::Range;

fn flag() -> Setting {
    Setting::Group(vec![("x".to_owned(), Setting::Flag(true))])
}

fn added(text: &str) -> String {
    match set(text, &["s"], "n", &flag()).unwrap() {
        Change::Added(new) => new,
        other => panic!("{text}: {other:?}"),
    }
}

fn removed(text: &str) -> String {
    remove(text, &["s"], "n").unwrap().unwrap()
}

#[test]
fn members_are_added_in_the_layout_of_the_document() {
    for (before, after) in [
        // One line.
        (r#"{"s": {"a": 1}}"#, r#"{"s": {"a": 1, "n": {"x": true}}}"#),
        (r#"{"s": { "a": 1 }}"#, r#"{"s": { "a": 1, "n": {"x": true} }}"#),
        (r#"{"s": {"a": 1,}}"#, r#"{"s": {"a": 1, "n": {"x": true},}}"#),
        (r#"{"s": {"a": 1 /* , */}}"#, r#"{"s": {"a": 1, "n": {"x": true} /* , */}}"#),
        (r#"{"s": {"a": 1 /* , */ , }}"#, r#"{"s": {"a": 1 /* , */ , "n": {"x": true}, }}"#),
        // Lines.
        ("{\"s\": {\n  \"a\": 1\n}}", "{\"s\": {\n  \"a\": 1,\n  \"n\": {\n    \"x\": true\n  }\n}}"),
        ("{\"s\": {\n  \"a\": 1}}", "{\"s\": {\n  \"a\": 1,\n  \"n\": {\n    \"x\": true\n  }}}"),
        ("{\"s\": {\n  \"a\": 1,\n}}", "{\"s\": {\n  \"a\": 1,\n  \"n\": {\n    \"x\": true\n  },\n}}"),
        (
            "{\"s\": {\n  \"a\": 1 // b\n  ,\n}}",
            "{\"s\": {\n  \"a\": 1 // b\n  ,\n  \"n\": {\n    \"x\": true\n  },\n}}",
        ),
        (
            "{\"s\": {\n  \"a\": 1 // b\n  // c  \n}}",
            "{\"s\": {\n  \"a\": 1, // b\n  // c\n  \"n\": {\n    \"x\": true\n  }  \n}}",
        ),
        ("{\"s\": {\"a\": 1 // b\n}}", "{\"s\": {\"a\": 1, // b\n  \"n\": {\n    \"x\": true\n  }\n}}"),
        (
            "{\n\t\"s\": {\n\t\t\"a\": 1\n\t}\n}",
            "{\n\t\"s\": {\n\t\t\"a\": 1,\n\t\t\"n\": {\n\t\t\t\"x\": true\n\t\t}\n\t}\n}",
        ),
        // Empty objects, and none.
        (r#"{"s": {}}"#, "{\"s\": {\n  \"n\": {\n    \"x\": true\n  }\n}}"),
        ("{\n    \"s\": { }\n}", "{\n    \"s\": {\n        \"n\": {\n            \"x\": true\n        }\n     }\n}"),
        ("{\"s\": {\n  // none yet\n}}", "{\"s\": {\n  // none yet\n  \"n\": {\n    \"x\": true\n  }\n}}"),
        ("{}", "{\n  \"s\": {\n    \"n\": {\n      \"x\": true\n    }\n  }\n}"),
        (r#"{"a": []}"#, r#"{"a": [], "s": {"n": {"x": true}}}"#),
        ("{\n \"a\": []\n}\n", "{\n \"a\": [],\n \"s\": {\n  \"n\": {\n   \"x\": true\n  }\n }\n}\n"),
    ] {
        assert_eq!(added(before), after);
    }
}

#[test]
fn members_are_removed_and_comments_stay() {
    for (before, after) in [
        (r#"{"s": {"n": 1}}"#, r#"{"s": {}}"#),
        (r#"{"s": {"n": 1,}}"#, r#"{"s": {}}"#),
        ("{\"s\": {\n  \"n\": 1\n}}", r#"{"s": {}}"#),
        (r#"{"s": {"n": 1, "b": 2}}"#, r#"{"s": {"b": 2}}"#),
        (r#"{"s": {"a": 1, "n": 1, "b": 2}}"#, r#"{"s": {"a": 1, "b": 2}}"#),
        (r#"{"s": {"a": 1, "n": 1}}"#, r#"{"s": {"a": 1}}"#),
        ("{\"s\": {\n  \"n\": 1,\n  \"b\": 2\n}}", "{\"s\": {\n  \"b\": 2\n}}"),
        ("{\"s\": {\n  \"a\": 1, // a\n  \"n\": 1\n}}", "{\"s\": {\n  \"a\": 1 // a\n}}"),
        ("{\"s\": {\n  \"a\": 1, // a\n  \"n\": 1, // n\n}}", "{\"s\": {\n  \"a\": 1, // a\n  // n\n}}"),
        ("{\"s\": {\n  \"a\": 1, // a\n  \"n\": 1, \"b\": 2\n}}", "{\"s\": {\n  \"a\": 1, // a\n  \"b\": 2\n}}"),
        ("{\"s\": {\n  \"a\": 1, // a\n  \"n\": 1}}", "{\"s\": {\n  \"a\": 1 // a\n  }}"),
        ("{\"s\": {\n  // what n is\n  \"n\": 1\n}}", "{\"s\": {\n  // what n is\n}}"),
        ("{\"s\": {\"n\": 1 /* n */, \"b\": 2}}", "{\"s\": {/* n */ \"b\": 2}}"),
        ("{\"s\": {\n  \"n\": 1 // n\n  , \"b\": 2}}", "{\"s\": {\n  // n\n   \"b\": 2}}"),
        ("{\"s\": {\"n\": 1 /* n */}}", "{\"s\": {/* n */}}"),
        // A name that occurs twice.
        (r#"{"s": {"n": 1, "b": 2, "n": 3}}"#, r#"{"s": {"b": 2}}"#),
    ] {
        assert_eq!(removed(before), after);
    }
}

#[test]
fn members_are_replaced_where_they_are() {
    for (before, after) in [
        (r#"{"s": {"n": 1, "b": 2}}"#, r#"{"s": {"n": {"x": true}, "b": 2}}"#),
        ("{\"s\": {\n  \"n\": null, // n\n}}", "{\"s\": {\n  \"n\": {\n    \"x\": true\n  }, // n\n}}"),
        // Parsers use the last of a name.
        (r#"{"s": {"n": {"x": true}, "n": {"x": false}}}"#, r#"{"s": {"n": {"x": true}, "n": {"x": true}}}"#),
    ] {
        assert_eq!(set(before, &["s"], "n", &flag()), Ok(Change::Replaced(after.to_owned())));
    }
}

#[test]
fn an_entry_with_more_members_stays() {
    let text = r#"{"s": {"n": {"y": [1], "x": true}}}"#;
    assert_eq!(set(text, &["s"], "n", &flag()), Ok(Change::AlreadyConnected));
    let list = |texts: &[&str]| Setting::List(texts.iter().map(|text| (*text).to_owned()).collect());
    let text = r#"{"s": {"n": ["a", "b"]}}"#;
    for same in [&["a"][..], &["a", "b"]] {
        assert_eq!(set(text, &["s"], "n", &list(same)), Ok(Change::AlreadyConnected));
    }
    for other in [&["b"][..], &["a", "b", "c"]] {
        assert!(matches!(set(text, &["s"], "n", &list(other)), Ok(Change::Replaced(_))));
    }
}

/// The name and the position of the random entry.
const NAME: &str = "ours";
const PATH: [&str; 2] = ["mcp", "servers"];

fn entry() -> Setting {
    let members = [
        ("url", Setting::Text("https://h.example/mcp?\"\\é".to_owned())),
        ("args", Setting::List(vec!["-y".to_owned(), "}".to_owned()])),
        ("oauth", Setting::Group(vec![("enabled".to_owned(), Setting::Flag(false))])),
    ];
    Setting::Group(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// White space and comments.
fn filler() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just(""),
        2 => Just(" "),
        1 => Just("\t"),
        2 => Just("\n  "),
        1 => Just("\r\n\t"),
        1 => Just(" /* }\",\" */ "),
        1 => Just("/**/"),
        1 => Just(" // {,\"\n"),
        1 => Just("// a  \r\n "),
        1 => Just("\n// é\u{a0}\n"),
        1 => Just("\u{a0}"),
    ]
}

type Member = (&'static str, &'static str, &'static str, &'static str, String);

fn object(members: &[(String, Member)], trailing: bool, end: &str) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, (before, colon, value, after, of))| format!("{before}\"{name}\"{colon}:{value}{of}{after}"))
        .collect();
    let comma = if trailing && !members.is_empty() { "," } else { "" };
    format!("{{{}{comma}{end}}}", members.join(","))
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<Member>> {
    vec((filler(), filler(), filler(), filler(), value), 0..4)
}

fn named(members: Vec<Member>) -> Vec<(String, Member)> {
    members.into_iter().enumerate().map(|(index, member)| (format!("k{index}"), member)).collect()
}

fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1"),
        Just("-2.5e3"),
        Just("true"),
        Just("null"),
        Just("\"\""),
        Just("\"a\\\"}b // , é\\u0041\""),
    ];
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (members(inner.clone()), any::<bool>(), filler()).prop_map(|(members, trailing, end)| object(
                &named(members),
                trailing,
                end
            )),
            (vec(inner, 0..3), filler()).prop_map(|(values, end)| format!("[{}{end}]", values.join(","))),
        ]
    })
}

/// An object, with an object `name` among its members if there is one.
fn around(name: &'static str, inner: impl Strategy<Value = Option<String>>) -> impl Strategy<Value = String> {
    let member = (filler(), filler(), filler(), filler(), inner);
    (members(any_value()), member, any::<prop::sample::Index>(), any::<bool>(), filler()).prop_map(
        move |(others, (before, colon, value, after, inner), index, trailing, end)| {
            let mut members = named(others);
            if let Some(inner) = inner {
                members.insert(index.index(members.len() + 1), (name.to_owned(), (before, colon, value, after, inner)));
            }
            object(&members, trailing, end)
        },
    )
}

/// A document. Its servers may be missing.
fn document() -> impl Strategy<Value = String> {
    let servers = (members(any_value()), any::<bool>(), filler())
        .prop_map(|(members, trailing, end)| object(&named(members), trailing, end));
    let mcp = option::weighted(0.9, around("servers", option::weighted(0.9, servers)));
    (filler(), around("mcp", mcp), filler()).prop_map(|(before, root, after)| format!("{before}{root}{after}"))
}

/// A document as JSON parsers read it.
fn plain(value: JsonValue<'_>) -> Json {
    match value {
        JsonValue::String(text) => Json::from(text.into_owned()),
        JsonValue::Number(number) => serde_json::from_str(number).unwrap(),
        JsonValue::Boolean(flag) => Json::from(flag),
        JsonValue::Null => Json::Null,
        JsonValue::Array(values) => values.into_iter().map(plain).collect(),
        JsonValue::Object(members) => Json::Object(
            members.into_iter().map(|(name, value)| (name.into_owned(), plain(value))).collect::<Map<_, _>>(),
        ),
    }
}

/// The number of comments that begin in a range.
fn comments(document: &Document<'_>, range: Range<usize>) -> usize {
    let is_comment = |token: &Token<'_>| matches!(token, Token::CommentLine(_) | Token::CommentBlock(_));
    document.tokens.iter().filter(|of| is_comment(&of.token) && range.contains(&of.range.start)).count()
}

fn read(text: &str) -> Json {
    plain(parse_to_value(text, &ParseOptions::default()).unwrap().unwrap())
}

proptest! {
    #[test]
    fn what_is_added_is_there_and_what_is_removed_is_not(text in document()) {
        let Change::Added(new) = set(&text, &PATH, NAME, &entry()).unwrap() else { panic!("{text}") };
        prop_assert_eq!(set(&new, &PATH, NAME, &entry()), Ok(Change::AlreadyConnected));
        let mut expected = read(&text);
        expected["mcp"]["servers"][NAME] =
            serde_json::json!({"url": "https://h.example/mcp?\"\\é", "args": ["-y", "}"], "oauth": {"enabled": false}});
        prop_assert_eq!(read(&new), expected, "{}", new);

        let restored = remove(&new, &PATH, NAME).unwrap().unwrap();
        let before = Document::parse(&text).unwrap();
        match before.object(&PATH) {
            // To the byte.
            Some(servers) if !servers.properties.is_empty() => prop_assert_eq!(restored, text),
            // Objects that were made stay, and an empty one loses its white space.
            _ => {
                let mut empty = read(&text);
                empty["mcp"]["servers"] = serde_json::json!({});
                prop_assert_eq!(read(&restored), empty, "{}", restored);
            }
        }
    }

    #[test]
    fn any_member_can_be_removed(text in document(), index in any::<prop::sample::Index>()) {
        let document = Document::parse(&text).unwrap();
        let Some(servers) = document.object(&PATH).filter(|servers| !servers.properties.is_empty()) else { return Ok(()) };
        let name = index.get(&servers.properties).name.as_str();
        let mut expected = read(&text);
        expected["mcp"]["servers"].as_object_mut().unwrap().remove(name);
        let shorter = remove(&text, &PATH, name).unwrap().unwrap();
        prop_assert_eq!(read(&shorter), expected, "{}", shorter);
        // All that is missing is the member, commas and white space.
        let after = Document::parse(&shorter).unwrap();
        let (_, property) = member(servers, name).unwrap();
        let own = comments(&document, property.range.start..property.range.end);
        prop_assert_eq!(comments(&after, 0..shorter.len()) + own, comments(&document, 0..text.len()), "{}", shorter);
    }

    #[test]
    fn replacing_keeps_everything_else(text in document(), index in any::<prop::sample::Index>()) {
        let document = Document::parse(&text).unwrap();
        let Some(servers) = document.object(&PATH).filter(|servers| !servers.properties.is_empty()) else { return Ok(()) };
        let property = index.get(&servers.properties);
        let Change::Replaced(new) = set(&text, &PATH, property.name.as_str(), &entry()).unwrap() else { panic!("{text}") };
        let value = super::range(&property.value);
        prop_assert!(new.starts_with(&text[..value.start]));
        prop_assert!(new.ends_with(&text[value.end..]));
        prop_assert_eq!(set(&new, &PATH, property.name.as_str(), &entry()), Ok(Change::AlreadyConnected));
    }

    #[test]
    fn cut_documents_are_refused(text in document(), index in any::<prop::sample::Index>()) {
        let end = text.floor_char_boundary(index.index(text.len()));
        let root = Document::parse(&text).unwrap().root().unwrap().unwrap().range.end;
        let cut = &text[..end];
        let result = set(cut, &PATH, NAME, &entry());
        if end < root && cut.trim_matches(SPACE).contains('{') && !cut.contains('/') {
            prop_assert!(result.is_err(), "{cut:?}");
        }
    }

    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,60}|[{}\\[\\]\",:/* \\n\\r\ta1]{0,40}") {
        let _ = set(&text, &PATH, NAME, &entry());
        let _ = remove(&text, &PATH, NAME);
    }
}
