//! The credentials that a run came across, and whether a text has something of them.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};
use url::form_urlencoded;

/// So much of a credential in a row is a leak.
const WINDOW: usize = 16;

/// All that was noted.
#[derive(Default)]
pub struct Trail {
    noted: HashSet<Vec<u8>>,
    names: Vec<String>,
    /// Every part of every spelling, and which name it has.
    parts: HashMap<[u8; WINDOW], usize>,
}

impl Trail {
    /// A credential, and what it is.
    pub fn note(&mut self, name: &str, credential: &[u8]) {
        assert!(credential.len() >= WINDOW, "{name} is too short to be looked for");
        if !self.noted.insert(credential.to_owned()) {
            return;
        }
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        for spelling in spellings(credential) {
            for part in spelling.windows(WINDOW) {
                self.parts.entry(part.try_into().unwrap()).or_insert(index);
            }
        }
    }

    /// A JWT. What it says is no secret, and no credential without the signature.
    pub fn note_jwt(&mut self, name: &str, token: &str) {
        let [_, _, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        self.note(name, signature.as_bytes());
    }

    /// A refresh token. It names its grant, whose name is no secret.
    pub fn note_refresh_token(&mut self, token: &str) {
        let [_, _, _, secret, mac] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        self.note("refresh token", secret.as_bytes());
        self.note("refresh token", mac.as_bytes());
    }

    /// What has this name so far gets another.
    pub fn rename(&mut self, name: &str, new: &str) {
        self.names.iter_mut().filter(|known| *known == name).for_each(|known| new.clone_into(known));
    }

    /// Of which credentials `text` has something, and the line of the first part of each.
    pub fn found_in<'t>(&self, text: &'t [u8]) -> BTreeMap<&str, Cow<'t, str>> {
        let mut found = BTreeMap::new();
        for (at, part) in text.windows(WINDOW).enumerate() {
            let Some(index) = self.parts.get(part) else { continue };
            found.entry(self.names[*index].as_str()).or_insert_with(|| {
                let from = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let to = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end);
                String::from_utf8_lossy(&text[from..to])
            });
        }
        found
    }

    /// What was noted at all.
    pub fn names(&self) -> BTreeSet<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// How many credentials.
    pub fn len(&self) -> usize {
        self.noted.len()
    }
}

/// How a credential may be written, in the middle of something else too.
fn spellings(credential: &[u8]) -> Vec<Vec<u8>> {
    let hex = credential.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let percent: String = form_urlencoded::byte_serialize(credential).collect();
    let mut all = vec![credential.to_owned(), hex.to_uppercase().into_bytes(), hex.into_bytes(), percent.into_bytes()];
    if let Ok(text) = str::from_utf8(credential) {
        all.push(serde_json::to_vec(text).unwrap());
        all.push(format!("{text:?}").into_bytes());
    }
    for before in 0..3 {
        // The characters that also hold bits of a neighbour are left out.
        let bytes = [vec![0; before], credential.to_owned()].concat();
        let from = (before * 4).div_ceil(3);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            let to = encoded.len() - usize::from(bytes.len() % 3 != 0);
            all.push(encoded.as_bytes()[from.min(to)..to].to_owned());
        }
    }
    all
}

#[test]
fn a_credential_is_found_however_it_is_written() {
    let mut trail = Trail::default();
    let secret = "p\"ss: wörd/with+all=sorts";
    trail.note("password", secret.as_bytes());
    trail.note("key", &[7, 1, 200, 31, 4, 99, 250, 16, 77, 42, 8, 130, 61, 190, 23, 5]);
    let percent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut texts = vec![
        secret.to_owned(),
        format!("tail {}", &secret[6..]),
        format!("a=1&b={percent}"),
        format!("{:?}", Some(secret)),
        serde_json::json!({"a": secret}).to_string(),
    ];
    for before in ["", "x", "xy", "xyz"] {
        let around = format!("{before}{secret}and more");
        texts.extend([STANDARD_NO_PAD.encode(&around), URL_SAFE_NO_PAD.encode(&around)]);
    }
    for text in &texts {
        let lines = format!("first\n{text}\nlast");
        assert_eq!(trail.found_in(lines.as_bytes()), [("password", text.into())].into());
    }
    for text in ["0701C81F0463FA104D2A08823DBE1705", "BwHIHwRj+hBNKgiCPb4XBQ=="] {
        assert_eq!(trail.found_in(text.as_bytes()), [("key", text.into())].into());
    }
    assert_eq!(trail.found_in(&secret.as_bytes()[..12]), [].into());
}
