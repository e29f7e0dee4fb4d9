//! Tables in every form, and random documents.

use super::{SERVERS, parse, remove, set};
use crate::{Change, entry::Setting};
use proptest::{collection::vec, prelude::*};
use toml_edit::{Item, Table};

fn entry() -> Setting {
    Setting::Group(vec![("url".to_owned(), Setting::Text("u".to_owned()))])
}

const BLOCK: &str = "[mcp_servers.n]\nurl = \"u\"";

#[test]
fn a_table_is_removed_however_it_is_written() {
    for (before, after) in [
        ("[mcp_servers.n]\nurl = \"v\"\n", ""),
        ("a = 1\n\n[mcp_servers.n]\nurl = \"v\"\n", "a = 1\n"),
        ("a = 1\n[mcp_servers.n]\nurl = \"v\"", "a = 1"),
        ("a = 1\n\n  [mcp_servers.n] # mine\n  url = \"v\" # v\n\n[b]\n", "a = 1\n\n[b]\n"),
        ("[mcp_servers.n]\n# what it is\nurl = \"v\"\n# about b\n[b]\n", "# about b\n[b]\n"),
        (
            "[mcp_servers.n]\n[mcp_servers.n.env]\nA = \"1\"\n\n[mcp_servers.n.oauth]\nclient_id = \"c\"\n\n[b]\n",
            "\n[b]\n",
        ),
        ("[mcp_servers.n.env]\nA = \"1\"\n[b]\n[mcp_servers.n]\nurl = \"v\"\n", "[b]\n"),
        ("[mcp_servers.n]\noauth.client_id = \"c\"\nargs = [\n  1, # one\n  2,\n]\n[b]\n", "[b]\n"),
        ("[mcp_servers]\nn = { url = \"v\" }\nm = { url = \"w\" }\n", "[mcp_servers]\nm = { url = \"w\" }\n"),
        ("[mcp_servers]\nn.url = \"v\"\nm.url = \"w\"\nn.env.A = \"1\"\n", "[mcp_servers]\nm.url = \"w\"\n"),
        ("mcp_servers.n.url = \"v\"\n\na = 1\n", "\na = 1\n"),
        ("[mcp_servers.\"n\"]\r\nurl = \"\"\"\r\n[b]\r\n\"\"\"\r\n\r\n[b]\r\n", "\r\n[b]\r\n"),
        ("[mcp_servers.n]\n[[mcp_servers.n.tools]]\na = 1\n[[mcp_servers.n.tools]]\na = 2\n[b]\n", "[b]\n"),
    ] {
        assert_eq!(remove(before, "n"), Ok(Some(after.to_owned())), "{before}");
        assert_eq!(remove(after, "n"), Ok(None));
    }
}

#[test]
fn a_table_is_replaced_however_it_is_written() {
    for (before, after) in [
        ("[mcp_servers.n]\nurl = \"v\"\n\n[b]\n".to_owned(), format!("{BLOCK}\n\n[b]\n")),
        ("[mcp_servers.n]\nurl = \"v\"".to_owned(), BLOCK.to_owned()),
        (
            "[mcp_servers.n]\ncommand = \"c\"\n\n[mcp_servers.n.env]\nA = \"1\"\n\n[b]\n".to_owned(),
            format!("{BLOCK}\n\n[b]\n"),
        ),
        ("[mcp_servers.n.env]\nA = \"1\"\n[b]\n".to_owned(), format!("{BLOCK}\n[b]\n")),
        ("[mcp_servers]\nn = { url = \"v\" }\n".to_owned(), format!("[mcp_servers]\n\n{BLOCK}\n")),
        (
            "[mcp_servers]\nn.url = \"v\"\nm.url = \"w\"\n".to_owned(),
            format!("[mcp_servers]\nm.url = \"w\"\n\n{BLOCK}\n"),
        ),
    ] {
        assert_eq!(set(&before, "n", &entry()), Ok(Change::Replaced(after.clone())), "{before}");
        assert_eq!(set(&after, "n", &entry()), Ok(Change::AlreadyConnected));
    }
}

#[test]
fn a_table_with_more_keys_stays() {
    for text in [
        "[mcp_servers.n]\nurl = \"u\"\nenabled = false\n",
        "[mcp_servers]\nn = { enabled = false, url = 'u' }\n",
        "mcp_servers.n.url = \"\"\"u\"\"\"\n",
    ] {
        assert_eq!(set(text, "n", &entry()), Ok(Change::AlreadyConnected), "{text}");
    }
}

/// Lines of a document, which end where the next begin.
fn part() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("# a comment [mcp_servers.ours]\n"),
        Just("\n"),
        Just("\n\n"),
        Just("  \t\n"),
        Just("[table]\nkey = \"[mcp_servers.ours]\" # c\n"),
        Just("[mcp_servers.a]\nurl = '''\n[mcp_servers.ours]\n'''\n"),
        Just("[mcp_servers.b]\nargs = [ # c\n  \"é\",\n\n]\n"),
        Just("[mcp_servers.b.env]\nA.B = 1\n"),
        Just("[[list]]\na = {}\n"),
        Just("[mcp_servers]\nc = { url = \"x\" }\n"),
        Just("[\"mcp_servers\".'d']\n[mcp_servers.d.oauth]\n"),
    ]
}

/// A document without two definitions of a table.
fn document() -> impl Strategy<Value = String> {
    (vec(part(), 0..8), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(parts, dotted, windows, cut)| {
        let mut text = if dotted { "mcp_servers.e.url = 1\n".to_owned() } else { "a = 1979-05-27\n".to_owned() };
        for (index, part) in parts.iter().enumerate() {
            let repeated =
                part.starts_with('[') && !part.starts_with("[[") && parts.iter().take(index).any(|of| of == part);
            let clashes = dotted && part.starts_with("[mcp_servers]");
            if !repeated && !clashes {
                text.push_str(part);
            }
        }
        if cut {
            text.truncate(text.trim_end_matches('\n').len());
        }
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #[test]
    fn adding_and_removing_gives_the_text_back(text in document()) {
        let Ok(before) = parse(&text) else { return Ok(()) };
        let Change::Added(new) = set(&text, "ours", &entry()).unwrap() else { panic!("{text}") };
        prop_assert!(new.starts_with(&text));
        let after = parse(&new).unwrap();
        let url = after.as_table()[SERVERS]["ours"]["url"].as_str();
        prop_assert_eq!(url, Some("u"));
        let others = |item: Option<&Item>| {
            item.and_then(Item::as_table).map_or(0, |table| table.iter().filter(|(name, _)| *name != "ours").count())
        };
        prop_assert_eq!(others(before.as_table().get(SERVERS)), others(after.as_table().get(SERVERS)));
        prop_assert_eq!(set(&new, "ours", &entry()), Ok(Change::AlreadyConnected));
        prop_assert_eq!(remove(&new, "ours"), Ok(Some(text)));
    }

    #[test]
    fn any_table_can_be_removed(text in document(), name in "[a-e]") {
        let Ok(before) = parse(&text) else { return Ok(()) };
        let servers = before.as_table().get(SERVERS).and_then(Item::as_table);
        let Some(count) = servers.filter(|servers| servers.contains_key(&name)).map(Table::len) else {
            return Ok(());
        };
        let shorter = remove(&text, &name).unwrap().unwrap();
        let after = parse(&shorter).unwrap();
        let left = after.as_table().get(SERVERS).and_then(Item::as_table).map_or(0, Table::len);
        prop_assert_eq!(left, count - 1, "{}", shorter);
        prop_assert_eq!(before.as_table().len() - usize::from(left == 0 && !shorter.contains("[mcp_servers]")), after.as_table().len(), "{}", shorter);
    }

    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,60}|[\\[\\]{}=\".#a \n\r]{0,40}") {
        let _ = set(&text, "ours", &entry());
        let _ = remove(&text, "ours");
    }
}
