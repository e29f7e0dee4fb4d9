//! The media types of a request: `Content-Type` (RFC 9110 §8.3) and `Accept` (§12.5.1).

use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};
use portcullis_core::media_type;

/// The `Accept` header that rmcp requires. The edge accepts less, and answers accordingly.
pub(super) const ACCEPT_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// A request extension: whether the response may be an event stream, with progress before the result.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptsEvents(pub bool);

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| media_type::is(value, media_type::JSON))
}

/// The types that the client accepts, by its `Accept` headers (RFC 9110 §12.5.1). A request without the header accepts
/// any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub json: bool,
    pub events: bool,
}

impl Accepted {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        if values.peek().is_none() {
            // An old or simple client gets the simple type, JSON.
            return Self { json: true, events: false };
        }
        let mut accepted = Self { json: false, events: false };
        for range in values.flat_map(|value| value.split(',')).filter(|range| !is_refused(range)) {
            let is = |kind: &str| media_type::is(range, kind);
            accepted.json |= is("application/json") || is("application/*") || is("*/*");
            accepted.events |= is("text/event-stream");
        }
        accepted
    }
}

/// Whether a media range has the weight zero.
fn is_refused(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| {
        let weight = parameter.trim().strip_prefix("q=").or_else(|| parameter.trim().strip_prefix("Q="));
        weight.is_some_and(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_as_clients_mean_it() {
        for (accept, json, events) in [
            (&[][..], true, false),
            (&["application/json"], true, false),
            (&["*/*"], true, false),
            (&["application/json, text/event-stream"], true, true),
            (&["text/event-stream;q=0.5", "application/json;q=0.9"], true, true),
            (&["Application/JSON;charset=utf-8"], true, false),
            (&["text/event-stream"], false, true),
            (&["text/html"], false, false),
            (&["application/json;q=0"], false, false),
            (&["application/json, text/event-stream;q=0.0"], true, false),
        ] {
            let headers = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect();
            assert_eq!(Accepted::of(&headers), Accepted { json, events }, "{accept:?}");
        }
    }
}
