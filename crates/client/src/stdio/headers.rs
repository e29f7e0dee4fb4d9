//! The headers of Streamable HTTP that repeat parts of a message: the protocol revision, and since 2026-07-28 the method
//! and the name (SEP-2243).

use super::message::Request;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The negotiated revision.
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session of the server, if it has sessions.
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The headers of a request. `negotiated` is the revision of an earlier `initialize`.
pub(super) fn of(request: &Request, negotiated: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: Option<HeaderValue>| value.and_then(|value| headers.insert(name, value));
    let Some(version) = &request.version else {
        let negotiated = negotiated.filter(|_| request.method != "initialize");
        insert(VERSION, negotiated.and_then(|version| HeaderValue::try_from(version).ok()));
        return headers;
    };
    insert(VERSION, HeaderValue::try_from(version).ok());
    insert(METHOD, HeaderValue::try_from(&request.method).ok());
    insert(NAME, request.name.as_deref().and_then(name_value));
    headers
}

/// The header value of a name: base64 in a sentinel if it is not plain ASCII (SEP-2243).
fn name_value(name: &str) -> Option<HeaderValue> {
    let plain = name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && name.trim_matches(' ') == name;
    let resembles_encoded = name.starts_with("=?base64?") && name.ends_with("?=");
    if plain && !resembles_encoded {
        return HeaderValue::try_from(name).ok();
    }
    HeaderValue::try_from(format!("=?base64?{}?=", STANDARD.encode(name))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(method: &str, version: Option<&str>, name: Option<&str>) -> Request {
        let (version, name) = (version.map(str::to_owned), name.map(str::to_owned));
        Request { id: json!(1), method: method.to_owned(), version, name }
    }

    #[test]
    fn headers_repeat_the_message() {
        for (request, negotiated, expected) in [
            (request("initialize", None, None), None, [None, None, None]),
            (request("initialize", None, None), Some("2025-11-25"), [None, None, None]),
            (request("tools/call", None, Some("whoami")), Some("2025-11-25"), [Some("2025-11-25"), None, None]),
            (
                request("tools/call", Some("2026-07-28"), Some("whoami")),
                Some("2025-11-25"),
                [Some("2026-07-28"), Some("tools/call"), Some("whoami")],
            ),
            (
                request("resources/read", Some("2026-07-28"), Some("file:///é")),
                None,
                [Some("2026-07-28"), Some("resources/read"), Some("=?base64?ZmlsZTovLy/DqQ==?=")],
            ),
        ] {
            let headers = of(&request, negotiated);
            let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!([value(VERSION), value(METHOD), value(NAME)], expected, "{request:?}");
        }
    }

    #[test]
    fn a_name_like_an_encoded_one_is_encoded() {
        assert_eq!(name_value("=?base64?x?=").unwrap(), format!("=?base64?{}?=", STANDARD.encode("=?base64?x?=")));
        assert_eq!(name_value(" x").unwrap(), "=?base64?IHg=?=");
        assert_eq!(name_value("a b").unwrap(), "a b");
    }
}
