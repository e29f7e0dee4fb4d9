//! The `WWW-Authenticate` challenge of an endpoint (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).

/// The parameters of a Bearer challenge that a client uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BearerChallenge {
    /// The URL of the protected resource metadata.
    pub resource_metadata: Option<String>,
    /// The scopes to request.
    pub scope: Option<String>,
}

/// The first Bearer challenge in the values of the header; `None` if there is none.
pub(super) fn bearer<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<BearerChallenge> {
    values.into_iter().find_map(bearer_in)
}

fn bearer_in(value: &str) -> Option<BearerChallenge> {
    let mut found: Option<BearerChallenge> = None;
    let mut within = false;
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            // The end, or a syntax error: what was read so far counts.
            return found;
        }
        let Some((text, after)) = assigned(after) else {
            // A word without a value is the scheme of the next challenge.
            if found.is_some() {
                return found;
            }
            within = word.eq_ignore_ascii_case("bearer");
            found = within.then(BearerChallenge::default);
            rest = after;
            continue;
        };
        rest = after;
        let Some(challenge) = found.as_mut().filter(|_| within) else { continue };
        match word.to_ascii_lowercase().as_str() {
            "resource_metadata" => challenge.resource_metadata = Some(text),
            "scope" => challenge.scope = Some(text),
            _ => {}
        }
    }
}

/// The token (RFC 9110 §5.6.2) at the beginning of `text`, and what follows.
fn token(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

/// The value after `=`, a token or a quoted string, and what follows.
fn assigned(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, quoted.get(at + 1..).unwrap_or_default())),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bearer_challenge_is_found() {
        let url = "https://h.example.com/.well-known/oauth-protected-resource/mcp";
        let quoted = format!("resource_metadata=\"{url}\"");
        for (value, expected) in [
            (format!("Bearer realm=\"agents\", {quoted}, scope=\"a b\""), Some((Some(url), Some("a b")))),
            (format!("bearer {quoted}"), Some((Some(url), None))),
            (format!("Basic realm=\"x, Bearer\", Bearer error=invalid_token,{quoted}"), Some((Some(url), None))),
            (format!("Bearer Scope = \"a\" , {quoted}, Basic realm=\"x\", scope=\"b\""), Some((Some(url), Some("a")))),
            ("Bearer".to_owned(), Some((None, None))),
            (r#"Bearer scope="a\"b""#.to_owned(), Some((None, Some("a\"b")))),
            ("Bearer scope=\"never closed".to_owned(), Some((None, None))),
            (format!("Basic {quoted}"), None),
            (String::new(), None),
        ] {
            let found = bearer([value.as_str()]);
            let parts =
                found.as_ref().map(|challenge| (challenge.resource_metadata.as_deref(), challenge.scope.as_deref()));
            assert_eq!(parts, expected, "{value}");
        }
        assert!(bearer(["Basic realm=x", "Bearer scope=a"]).is_some());
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "\\PC{0,80}|(Bearer|[a-z]+=|\"|\\\\|,| |=|x){0,30}") {
            let _ = bearer([value.as_str()]);
        }
    }
}
