//! Media types in header fields (RFC 9110 §8.3.1).

/// The media type of JSON (RFC 8259 §11).
pub const JSON: &str = "application/json";

/// A media type without its parameters and the whitespace around it.
#[must_use]
pub fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether a header value is this media type, with any parameters.
#[must_use]
pub fn is(value: &str, media_type: &str) -> bool {
    essence(value).eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        for (value, json) in [
            ("application/json", true),
            (" Application/JSON ; charset=utf-8", true),
            ("application/jsonp", false),
            ("text/html; x=application/json", false),
            ("", false),
        ] {
            assert_eq!(is(value, JSON), json, "{value:?}");
        }
    }
}
