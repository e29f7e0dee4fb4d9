//! The rules for `spec.redirectUris` of an `OAuthClient`. Each rule exists twice, side by side: as a CEL expression for
//! the schema of the resource, and as a Rust function for servers, which check self-registered clients before they
//! store them. A test in `portcullis-api` compares the two.

use crate::{loopback, schema};
use std::collections::BTreeSet;

/// The maximum number of redirect URIs of a client, in addition to those of its preset.
pub const MAX_COUNT: usize = 32;

/// The maximum length of a redirect URI in characters.
pub const MAX_LENGTH: usize = 2048;

/// Schemes that admission refuses, since browsers do not use them to call back an application.
pub const FORBIDDEN_SCHEMES: [&str; 9] =
    ["javascript", "data", "vbscript", "file", "ftp", "blob", "about", "ws", "wss"];

/// Schemes that servers refuse in addition to [`FORBIDDEN_SCHEMES`].
pub const BROWSER_SCHEMES: [&str; 13] = [
    "chrome",
    "chrome-extension",
    "content",
    "filesystem",
    "intent",
    "jar",
    "mailto",
    "moz-extension",
    "resource",
    "sms",
    "tel",
    "urn",
    "view-source",
];

/// A rule for each redirect URI of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No wildcard.
    Wildcard,
    /// No fragment.
    Fragment,
    /// No white space, backslash or `..` segment.
    Character,
    /// An absolute URI without user information.
    Absolute,
    /// Plain http for loopback hosts only.
    PlainHttp,
    /// None of [`FORBIDDEN_SCHEMES`].
    Scheme,
}

impl Rule {
    /// All rules, in the order of the schema.
    pub const ALL: [Self; 6] =
        [Self::Wildcard, Self::Fragment, Self::Character, Self::Absolute, Self::PlainHttp, Self::Scheme];

    /// The rule as a CEL expression for the list of all URIs.
    #[must_use]
    pub fn cel(self) -> schema::Rule {
        let each = match self {
            Self::Wildcard => "!u.contains('*')".to_owned(),
            Self::Fragment => "!u.contains('#')".to_owned(),
            Self::Character => r"!u.matches('[\\s\\\\]') && !u.contains('/../') && !u.endsWith('/..')".to_owned(),
            Self::Absolute => {
                "u.matches('^([a-z][a-z0-9+.-]*://[^/?@]+([/?].*)?|[a-z][a-z0-9-]*([.][a-z0-9-]+)+:/[^/].*)$')"
                    .to_owned()
            }
            Self::PlainHttp => {
                let hosts = loopback::pattern();
                format!("!u.startsWith('http://') || u.matches('^http://{hosts}(:[0-9]{{1,5}})?([/?].*)?$')")
            }
            Self::Scheme => format!("!u.matches('^({}):')", FORBIDDEN_SCHEMES.join("|")),
        };
        schema::Rule::new(format!("self.all(u, {each})"), self.message())
    }

    /// The error message for a violation, with the remedy.
    #[must_use]
    pub fn message(self) -> String {
        match self {
            Self::Wildcard => "must have no wildcard; list each URI in full (RFC 9700)".to_owned(),
            Self::Fragment => "must have no fragment (RFC 6749); remove everything from #".to_owned(),
            Self::Character => "must have no white space, backslash or .. segment".to_owned(),
            Self::Absolute => {
                "each must be an absolute URI without user information, such as https://agent.example.com/callback"
                    .to_owned()
            }
            Self::PlainHttp => format!("plain http is for {} only; use https", enumeration(&loopback::HOSTS)),
            Self::Scheme => {
                format!(
                    "{} cannot be redirect URIs; use https or the app's own scheme",
                    enumeration(&FORBIDDEN_SCHEMES)
                )
            }
        }
    }

    /// Whether `uri` satisfies the rule.
    #[must_use]
    pub fn accepts(self, uri: &str) -> bool {
        match self {
            Self::Wildcard => !uri.contains('*'),
            Self::Fragment => !uri.contains('#'),
            Self::Character => {
                !uri.contains(|c: char| c.is_whitespace() || c == '\\')
                    && !uri.contains("/../")
                    && !uri.ends_with("/..")
            }
            Self::Absolute => is_hierarchical(uri) || is_private_use(uri),
            Self::PlainHttp => uri.strip_prefix("http://").is_none_or(is_loopback),
            Self::Scheme => uri.split_once(':').is_none_or(|(scheme, _)| !FORBIDDEN_SCHEMES.contains(&scheme)),
        }
    }
}

/// Why admission refuses a list of redirect URIs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUrisError {
    /// More than [`MAX_COUNT`].
    #[error("must have at most {MAX_COUNT} entries; it has {0}")]
    TooMany(usize),
    /// The same URI twice.
    #[error("must have each entry once; {0:?} is repeated")]
    Repeated(String),
    /// An empty URI, or one with more than [`MAX_LENGTH`] characters.
    #[error("each must have 1 to {MAX_LENGTH} characters")]
    Length,
    /// A URI violates this rule.
    #[error("{}", .0.message())]
    Rule(Rule),
}

/// Checks a list by the same rules as admission checks `spec.redirectUris`.
pub fn check_all(uris: &[String]) -> Result<(), RedirectUrisError> {
    if uris.len() > MAX_COUNT {
        return Err(RedirectUrisError::TooMany(uris.len()));
    }
    let mut seen = BTreeSet::new();
    if let Some(repeated) = uris.iter().find(|uri| !seen.insert(uri.as_str())) {
        return Err(RedirectUrisError::Repeated(repeated.clone()));
    }
    if !uris.iter().all(|uri| (1..=MAX_LENGTH).contains(&uri.chars().count())) {
        return Err(RedirectUrisError::Length);
    }
    let broken = Rule::ALL.into_iter().find(|rule| !uris.iter().all(|uri| rule.accepts(uri)));
    broken.map_or(Ok(()), |rule| Err(RedirectUrisError::Rule(rule)))
}

/// Joins words as in `a, b and c`.
fn enumeration(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        words => words.concat(),
    }
}

/// Whether the URI is `scheme://authority`, with an optional path or query.
fn is_hierarchical(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '@']).unwrap_or(rest.len()));
    let begins_with_letter = scheme.starts_with(|first: char| first.is_ascii_lowercase());
    begins_with_letter
        && scheme.bytes().all(|byte| is_scheme_byte(byte) || matches!(byte, b'+' | b'.'))
        && !authority.is_empty()
        && is_end_or_path(rest)
}

/// Whether the URI has a private-use scheme, such as `com.example.app:/path` (RFC 8252 §7.1).
fn is_private_use(uri: &str) -> bool {
    let Some((scheme, path)) = uri.split_once(":/") else { return false };
    let begins_with_letter = scheme.starts_with(|first: char| first.is_ascii_lowercase());
    let labels = scheme.split('.').all(|label| !label.is_empty() && label.bytes().all(is_scheme_byte));
    let mut path = path.chars();
    let first = path.next();
    begins_with_letter && labels && scheme.contains('.') && first.is_some_and(|c| c != '/') && is_line(path.as_str())
}

/// Whether `rest`, an http URI without its scheme, is a loopback host with an optional port and path or query.
fn is_loopback(rest: &str) -> bool {
    let Some(rest) = loopback::HOSTS.iter().find_map(|host| rest.strip_prefix(host)) else { return false };
    let Some(port) = rest.strip_prefix(':') else { return is_end_or_path(rest) };
    let (port, rest) = port.split_at(port.find(['/', '?']).unwrap_or(port.len()));
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()) && is_end_or_path(rest)
}

fn is_scheme_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn is_end_or_path(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with(['/', '?']) && is_line(rest))
}

/// Whether the regular expression `.*` matches the text.
fn is_line(text: &str) -> bool {
    !text.contains('\n')
}
