//! Request parameters, in a query or a form (RFC 6749 §3.1 and §3.2): each at most once, an empty one counts as absent,
//! and unknown ones are ignored.

use std::{borrow::Cow, collections::BTreeMap};
use url::form_urlencoded;

/// The only parameter that may be repeated (RFC 8707 §2).
const RESOURCE: &str = "resource";

/// Why a parameter is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The parameter is repeated.
    #[error("the parameter {0} is repeated")]
    Repeated(&'static str),
    /// The value contains a control character.
    #[error("the parameter {0} has a control character")]
    Control(&'static str),
}

/// The known parameters of a request.
#[derive(Default)]
pub(crate) struct Parameters<'a> {
    single: BTreeMap<&'static str, Cow<'a, str>>,
    resources: Vec<Cow<'a, str>>,
    errors: BTreeMap<&'static str, ParameterError>,
}

impl<'a> Parameters<'a> {
    /// Reads the parameters `names`, and `resource`, from a form-urlencoded text.
    #[must_use]
    pub(crate) fn read(text: &'a [u8], names: &[&'static str]) -> Self {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()) {
            let known = names.iter().chain(&[RESOURCE]).find(|known| **known == name);
            let Some(name) = known.copied() else { continue };
            if value.contains(char::is_control) {
                parameters.errors.entry(name).or_insert(ParameterError::Control(name));
            }
            if name == RESOURCE {
                parameters.resources.push(value);
            } else if parameters.single.insert(name, value).is_some() {
                parameters.errors.insert(name, ParameterError::Repeated(name));
            }
        }
        parameters
    }

    /// Reads the parameters. Fails if any of them is invalid.
    pub(crate) fn parse(text: &'a [u8], names: &[&'static str]) -> Result<Self, ParameterError> {
        let parameters = Self::read(text, names);
        parameters.check().map(|()| parameters)
    }

    /// Fails if any of the parameters is invalid.
    pub(crate) fn check(&self) -> Result<(), ParameterError> {
        self.errors.values().next().map_or(Ok(()), |error| Err(*error))
    }

    /// The value of a parameter, if present. Fails if this parameter is invalid.
    pub(crate) fn good(&self, name: &str) -> Result<Option<&str>, ParameterError> {
        self.errors.get(name).map_or_else(|| Ok(self.get(name)), |error| Err(*error))
    }

    /// The value of a parameter, if present. Does not check whether the parameter is valid.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(AsRef::as_ref)
    }

    /// Whether every `resource` (RFC 8707) is one of these. A trailing slash is ignored, since clients differ about it.
    #[must_use]
    pub(crate) fn are_for(&self, resources: &[String]) -> bool {
        self.resources.iter().all(|asked| {
            let asked = asked.strip_suffix('/').unwrap_or(asked);
            resources.iter().any(|resource| resource == asked)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 2] = ["a", "b"];

    #[test]
    fn each_counts_once_and_empty_ones_not_at_all() {
        for (text, expected) in [
            ("a=1&b=2", Ok((Some("1"), Some("2")))),
            ("a=1&a=", Ok((Some("1"), None))),
            ("a=&b", Ok((None, None))),
            ("a=%C3%A9+x&c=1&c=2", Ok((Some("é x"), None))),
            ("a=1&a=1", Err(ParameterError::Repeated("a"))),
            ("a=1&%61=2", Err(ParameterError::Repeated("a"))),
            ("b=1&a=x%00y", Err(ParameterError::Control("a"))),
            ("a=x%0d%0ay", Err(ParameterError::Control("a"))),
            ("resource=a%7fb", Err(ParameterError::Control("resource"))),
            ("c=%00", Ok((None, None))),
        ] {
            let read = Parameters::parse(text.as_bytes(), &NAMES);
            let read = read.as_ref().map(|read| (read.get("a"), read.get("b"))).map_err(|error| *error);
            assert_eq!(read, expected, "{text}");
        }
        let read = Parameters::read(b"a=1&a=2&b=3", &NAMES);
        assert_eq!((read.good("a"), read.good("b")), (Err(ParameterError::Repeated("a")), Ok(Some("3"))));
    }

    #[test]
    fn every_resource_must_be_the_one() {
        for (text, ours) in [
            ("", true),
            ("resource=https://h/mcp", true),
            ("resource=https%3A%2F%2Fh%2Fmcp%2F", true),
            ("resource=https://h/mcp&resource=https://h/mcp/", true),
            ("resource=https://h/mcp//", false),
            ("resource=https://h/mcp&resource=https://h/x", false),
            ("resource=https://H/mcp", false),
            ("resource=https://h/mcp%23f", false),
            ("resource=https://h/alias/", true),
            ("resource=https://h/mcp&resource=https://h/alias", true),
            ("resource=https://h/alias&resource=https://h/x", false),
        ] {
            let resources = ["https://h/mcp", "https://h/alias"].map(str::to_owned);
            assert_eq!(Parameters::read(text.as_bytes(), &NAMES).are_for(&resources), ours, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_is_plain(text in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = Parameters::parse(&text, &NAMES) {
                for value in NAMES.iter().filter_map(|name| read.get(name)) {
                    prop_assert!(!value.is_empty() && !value.contains(char::is_control));
                }
            }
        }

        #[test]
        fn what_a_client_encodes_is_read_back(a in "[^\\p{Cc}]{1,40}", b in "[^\\p{Cc}]{1,40}") {
            let text = form_urlencoded::Serializer::new(String::new()).append_pair("b", &b).append_pair("a", &a).finish();
            let read = Parameters::parse(text.as_bytes(), &NAMES).unwrap();
            prop_assert_eq!((read.get("a"), read.get("b")), (Some(a.as_str()), Some(b.as_str())));
        }
    }
}
