use crate::audit::event::*;
use portcullis_testing::log::Log;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

#[test]
fn names_are_unique_and_follow_one_scheme() {
    let mut seen = BTreeSet::new();
    for Schema { name, .. } in Event::SCHEMA {
        assert!(seen.insert(name), "{name} is twice there");
        let (object, done) = name.split_once('.').unwrap();
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_word(object) && is_word(done), "{name}");
        assert!(done.ends_with("ed") || done.ends_with("_in") || done.ends_with("_out") || done == "given", "{name}");
    }
}

#[test]
fn each_field_is_documented_once_and_used() {
    let documented: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    assert!(documented.is_sorted(), "{documented:?}");
    let own = Event::SCHEMA.iter().flat_map(|event| event.fields).map(|field| field.name);
    let used: BTreeSet<&str> = own.chain(["address", "request_id"]).collect();
    assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), used);
    // A field name has the same type in all events.
    let mut kinds = BTreeMap::new();
    for field in Event::SCHEMA.iter().flat_map(|event| event.fields) {
        assert_eq!(kinds.entry(field.name).or_insert(field.kind), &field.kind, "{}", field.name);
    }
}

/// Reads all Rust files below a folder, except this module's own.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("src/audit") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_event_is_emitted_by_one_function_only() {
    let mut text = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["src", "crates"] {
        sources(&root.join(folder), &mut text);
    }
    for Schema { variant, name, .. } in Event::SCHEMA {
        assert!(text.contains(&format!("Event::{variant} {{")), "nothing emits {name}");
    }
    assert!(!text.contains("target: \"audit\""), "audit events are emitted by this module only");
}

#[test]
fn a_line_has_the_fields_of_its_schema_and_no_forged_ones() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.subscriber());
    let from = RequestContext { address: Some([192, 0, 2, 1].into()), ..RequestContext::UNKNOWN };
    let hostile = "x\"\n{\"event\":\"grant.created\"}\u{1b}[31m";
    let scopes = BTreeSet::from([Scope::WorkspacesRead, Scope::FilesRead]);
    let uris = [hostile.to_owned(), "https://a.test/cb".to_owned()];
    let tell = || {
        Event::GrantCreated { from: &from, client_id: hostile, user: "local:ann", grant: "g-1", scopes: &scopes }
            .emit();
        Event::ClientRegistered { from: &RequestContext::UNKNOWN, client_id: "dyn-1", redirect_uris: &uris }.emit();
        let reason = RevocationReason::ByUser;
        Event::GrantRevoked { from: &from, client_id: "app", user: None, grant: "g-1", reason }.emit();
    };
    // Emit twice: another test without a subscriber may have cached that the callsite is disabled.
    tell();
    tracing::callsite::rebuild_interest_cache();
    log.clear();
    tell();
    drop(guard);
    let lines: Vec<serde_json::Value> = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{}", log.text());
    assert_eq!(
        (&lines[0]["event"], &lines[0]["client_id"], &lines[0]["scopes"], &lines[0]["address"]),
        (&"grant.created".into(), &hostile.into(), &"workspaces:read files:read".into(), &"192.0.2.1".into())
    );
    assert_eq!(lines[1]["redirect_uris"], format!("{hostile} https://a.test/cb"));
    assert!(lines[1].get("address").is_none(), "{}", lines[1]);
    assert_eq!((&lines[2]["reason"], lines[2].get("user")), (&"ByUser".into(), None));
}
