//! Parsing of received JSON bodies (RFC 8259): objects only, never arrays in place of objects, and a message about lone
//! surrogates.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData};

/// Parses an object; an array is an error.
pub fn object<'de, T: Deserialize<'de>>(text: &'de [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).map(|ByName(value)| value)
}

/// A value that is parsed from an object only. Derived deserializers also accept an array, and assign its elements by
/// position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByName<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = ByName<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(ByName)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// An error message if `text` has an escape of a lone UTF-16 surrogate. The grammar of JSON allows it (RFC 8259 §8.2),
/// but it is not a Unicode character, so a string cannot contain it.
#[must_use]
pub fn lone_surrogate(text: &[u8]) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = rest.get(at..).unwrap_or_default();
        let used = match unit(escape) {
            Some(0xD800..=0xDBFF) if matches!(unit(escape.get(6..).unwrap_or_default()), Some(0xDC00..=0xDFFF)) => 12,
            Some(half @ 0xD800..=0xDFFF) => {
                let place = text.len() - escape.len();
                return Some(format!(
                    "it holds a lone surrogate, \\u{half:04x} at byte {place}, which is not a character; send both \
                     halves of the pair, or leave it out"
                ));
            }
            Some(_) => 6,
            // Skip the escaped character, which can be a backslash.
            None => 2,
        };
        rest = escape.get(used..).unwrap_or_default();
    }
    None
}

/// The UTF-16 code unit of an escape such as `\u00e9` at the beginning of `text`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        first: String,
        second: Option<u8>,
    }

    #[test]
    fn members_come_by_name() {
        let named = Named { first: "a".to_owned(), second: Some(1) };
        assert_eq!(object::<Named>(br#" {"second": 1, "third": [], "first": "a"} "#).unwrap(), named);
        for text in [r#"["a", 1]"#, r#"{"first": "a"} {}"#, r#"{"first": "a"}]"#, "null", "", r#""a""#] {
            assert!(object::<Named>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_pair_is_found_and_nothing_else() {
        for (text, place) in [
            (r#""\ud800""#, Some("\\ud800 at byte 1,")),
            (r#""x\uDFFFy""#, Some("\\udfff at byte 2,")),
            (r#""\ud83d\ude00\ud83d""#, Some("\\ud83d at byte 13,")),
            (r#""\ud83d\ud83d\ude00""#, Some("\\ud83d at byte 1,")),
            (r#""\ud83d x""#, Some("\\ud83d at byte 1,")),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud800""#, None),
            (r#""\\\ud800""#, Some("\\ud800 at byte 3,")),
            (r#""\u00e9\n\"""#, None),
            (r#""\ud8"#, None),
            ("\\", None),
        ] {
            let found = lone_surrogate(text.as_bytes());
            assert_eq!(found.is_some(), place.is_some(), "{text}: {found:?}");
            assert!(found.is_none_or(|found| found.contains(place.unwrap())), "{text}");
        }
    }

    proptest! {
        /// Text that serde accepts has no lone surrogates.
        #[test]
        fn no_text_holds_one(text in "\\PC{0,40}|(\\\\[\\\\un\"]|\\\\u(d8|D[C-F]|00)[0-9a-f]{2}){0,8}") {
            let json = format!("\"{text}\"");
            if serde_json::from_str::<String>(&json).is_ok() {
                prop_assert_eq!(lone_surrogate(json.as_bytes()), None);
            }
        }
    }
}
