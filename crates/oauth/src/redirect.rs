//! Redirect URIs: which URIs can be registered, and which registered URI matches a presented one (RFC 9700 §2.1, RFC
//! 8252 §7).
//!
//! URIs are compared byte by byte: nothing is normalized, so that nothing can be normalized differently elsewhere.
//! There are two exceptions. A callback on a loopback address matches at any port, since an app uses any free port. A
//! path segment `{id}` of an https callback, or the last one of a callback on a loopback address, matches one segment of
//! unreserved characters.

use portcullis_core::{
    loopback,
    redirect_uri::{BROWSER_SCHEMES, FORBIDDEN_SCHEMES, MAX_LENGTH},
};

/// The placeholder for one path segment in a registered URI.
const ANY_SEGMENT: &str = "{id}";

/// Why a redirect URI is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Longer than [`MAX_LENGTH`].
    #[error("it is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// A character that no URI contains (RFC 3986 §2): white space, a backslash, a control or a non-ASCII character.
    #[error("it has a character that is not allowed in URIs; percent-encode it")]
    Character,
    /// Not an absolute URI with a scheme and a host or a path.
    #[error("it is not an absolute URI, such as https://agent.example.com/callback")]
    NotAbsolute,
    /// A fragment (RFC 6749 §3.1.2).
    #[error("it has a fragment; remove everything from #")]
    Fragment,
    /// User information, as in `user@host`.
    #[error("it has user information; remove everything before the @")]
    UserInformation,
    /// A path segment `.` or `..`.
    #[error("it has a . or .. segment")]
    DotSegment,
    /// A scheme that is not for callbacks, or plain http to another host than loopback.
    #[error(
        "its scheme is not allowed for callbacks; use https, the app's own scheme, or http on localhost, 127.0.0.1 or [::1]"
    )]
    Scheme,
    /// An empty or malformed host or port.
    #[error("its host or port is malformed")]
    Authority,
}

/// The parts of a redirect URI. `rest` begins with `/` or `?`, or is empty.
struct Parts<'a> {
    scheme: &'a str,
    /// `None` for `app:/path`.
    host: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Result<Self, RedirectUriError> {
        if uri.len() > MAX_LENGTH {
            return Err(RedirectUriError::TooLong);
        }
        if uri.contains('#') {
            return Err(RedirectUriError::Fragment);
        }
        if !uri.bytes().all(is_uri_character) {
            return Err(RedirectUriError::Character);
        }
        let (scheme, rest) = uri.split_once(':').ok_or(RedirectUriError::NotAbsolute)?;
        let begins_well = scheme.starts_with(|first: char| first.is_ascii_lowercase());
        let goes_on_well = scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
        if !begins_well || !goes_on_well {
            return Err(RedirectUriError::Scheme);
        }
        let Some(after) = rest.strip_prefix("//") else {
            // A private-use scheme without a host (RFC 8252 §7.1). The dot is required since the scheme is a reversed
            // domain name; this excludes `mailto:` and similar schemes.
            let private = scheme.contains('.') && rest.starts_with('/');
            return if private { Ok(Self { scheme, host: None, rest }) } else { Err(RedirectUriError::NotAbsolute) };
        };
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        if authority.contains('@') {
            return Err(RedirectUriError::UserInformation);
        }
        Ok(Self { scheme, host: Some(host(authority)?), rest })
    }

    fn path(&self) -> &'a str {
        self.rest.split('?').next().unwrap_or_default()
    }

    fn is_loopback(&self) -> bool {
        self.scheme == "http" && self.host.is_some_and(|host| loopback::HOSTS.contains(&host))
    }
}

/// The host of an authority. The port, if any, must be valid.
fn host(authority: &str) -> Result<&str, RedirectUriError> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(RedirectUriError::Authority)?;
        let (host, rest) = authority.split_at(end + 1);
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or(RedirectUriError::Authority)?)),
        }
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    let known = host.starts_with('[') || (!host.is_empty() && host.bytes().all(is_unreserved));
    let in_range = |port: &str| {
        !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    if known && port.is_none_or(in_range) { Ok(host) } else { Err(RedirectUriError::Authority) }
}

/// The characters of RFC 3986 §2, which do not include braces.
fn is_uri_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// Checks the rules for all redirect URIs, from any source.
pub fn check(uri: &str) -> Result<(), RedirectUriError> {
    let parts = Parts::of(uri)?;
    let scheme_is_fine = match parts.scheme {
        "http" => parts.is_loopback(),
        scheme => !FORBIDDEN_SCHEMES.contains(&scheme) && !BROWSER_SCHEMES.contains(&scheme),
    };
    if !scheme_is_fine {
        return Err(RedirectUriError::Scheme);
    }
    if parts.path().split('/').any(is_dot_segment) { Err(RedirectUriError::DotSegment) } else { Ok(()) }
}

/// Whether `presented` matches one of these registered URIs.
#[must_use]
pub fn is_registered<S: AsRef<str>>(registered: &[S], presented: &str) -> bool {
    check(presented).is_ok() && registered.iter().any(|registered| matches(registered.as_ref(), presented))
}

/// Whether a valid `presented` matches this registered URI.
fn matches(registered: &str, presented: &str) -> bool {
    registered == presented
        || matches_at_any_port(registered, presented)
        || matches_segment(registered, presented)
        || matches_segment_at_any_port(registered, presented)
}

fn matches_at_any_port(registered: &str, presented: &str) -> bool {
    let (Ok(registered), Ok(presented)) = (Parts::of(registered), Parts::of(presented)) else { return false };
    registered.is_loopback()
        && presented.is_loopback()
        && registered.host == presented.host
        && registered.rest == presented.rest
}

fn matches_segment(registered: &str, presented: &str) -> bool {
    let Some((before, after)) = registered.split_once(ANY_SEGMENT) else { return false };
    let in_the_path = before.strip_prefix("https://").is_some_and(|rest| rest.contains('/') && !rest.contains('?'));
    let a_whole_segment = before.ends_with('/') && (after.is_empty() || after.starts_with(['/', '?']));
    if !in_the_path || !a_whole_segment || after.contains(ANY_SEGMENT) {
        return false;
    }
    presented.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(is_segment)
}

/// The last segment of a callback on a loopback address.
fn matches_segment_at_any_port(registered: &str, presented: &str) -> bool {
    let Some(parent) = registered.strip_suffix(ANY_SEGMENT).and_then(|uri| uri.strip_suffix('/')) else { return false };
    let Some((before, segment)) = presented.rsplit_once('/') else { return false };
    !parent.contains('?') && is_segment(segment) && matches_at_any_port(parent, before)
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_unreserved) && !is_dot_segment(text)
}

/// Appends these parameters to the query of `uri`, which may have parameters already (RFC 6749 §4.1.2).
#[must_use]
pub fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let added = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{added}")
}

#[cfg(test)]
mod tests;
