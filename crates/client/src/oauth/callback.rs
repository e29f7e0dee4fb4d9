//! The authorization request and its response (RFC 6749 §4.1, RFC 8252, RFC 8707, RFC 9207).

use super::{metadata::AuthorizationServer, pkce::RequestSecrets};
use url::{Url, form_urlencoded};

/// The path of the redirect URI.
pub(super) const PATH: &str = "/callback";
/// The longest error text of a server that is shown, in characters.
const MAX_TEXT: usize = 300;

/// Why a callback does not lead to a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The `state` is missing or another one. The callback is not the response to this request.
    #[error("this is not the answer to the sign-in that this command started; use the newest link")]
    OtherState,
    /// The issuer is missing or another one (RFC 9207 §2.4).
    #[error("the answer is not from the authorization server {0}; the sign-in was ended, and nothing was sent to it")]
    OtherIssuer(String),
    /// The user or the server refused.
    #[error("the sign-in was refused: {0}")]
    Refused(String),
    /// There is neither a code nor an error.
    #[error("the answer has neither a code nor an error; start the sign-in again")]
    Incomplete,
}

/// The URL that the user opens.
pub(super) fn authorization_url(
    endpoint: &Url,
    secrets: &RequestSecrets,
    client_id: &str,
    redirect_uri: &str,
    resource: &str,
    scope: Option<&str>,
) -> Url {
    let mut url = endpoint.clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", &secrets.state)
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", resource);
        if let Some(scope) = scope {
            query.append_pair("scope", scope);
        }
    }
    url
}

/// The code in the query of a callback, after all checks.
pub(super) fn code(query: &str, state: &str, server: &AuthorizationServer) -> Result<String, CallbackError> {
    let parameter = |name: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        // A parameter that occurs twice is invalid (RFC 6749 §3.1), and counts as missing.
        values.next().filter(|_| values.next().is_none()).map(|(_, value)| value.into_owned())
    };
    if parameter("state").as_deref() != Some(state) {
        return Err(CallbackError::OtherState);
    }
    let issuer = parameter("iss");
    if issuer.as_ref().map_or(server.sends_iss, |issuer| *issuer != server.issuer) {
        return Err(CallbackError::OtherIssuer(server.issuer.clone()));
    }
    if let Some(error) = parameter("error") {
        let text = match parameter("error_description") {
            Some(description) => format!("{description} ({error})"),
            None => error,
        };
        return Err(CallbackError::Refused(printable(&text)));
    }
    parameter("code").filter(|code| !code.is_empty()).ok_or(CallbackError::Incomplete)
}

/// The query of a callback URL that the user pasted.
pub(super) fn pasted_query(line: &str) -> Option<String> {
    let url = Url::parse(line.trim()).ok()?;
    (url.path() == PATH).then(|| url.query().map(str::to_owned)).flatten()
}

/// A text of a server, in one line and without control characters, for the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(sends_iss: bool) -> AuthorizationServer {
        AuthorizationServer {
            issuer: "https://h.example.com".to_owned(),
            authorization: None,
            token: "https://h.example.com/token".parse().unwrap(),
            revocation: None,
            registration: None,
            sends_iss,
        }
    }

    #[test]
    fn a_request_has_all_parameters() {
        let secrets = RequestSecrets { verifier: "v".repeat(43), state: "s&t".to_owned() };
        let endpoint: Url = "https://h.example.com/authorize?tenant=1".parse().unwrap();
        let redirect = "http://127.0.0.1:4000/callback";
        let url = authorization_url(&endpoint, &secrets, "cli", redirect, "https://h.example.com/mcp", Some("a b"));
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!((value("tenant"), value("state"), value("scope")), (Some("1"), Some("s&t"), Some("a b")));
        assert_eq!(value("redirect_uri"), Some(redirect));
        assert_eq!((value("code_challenge_method"), value("response_type")), (Some("S256"), Some("code")));
        assert_eq!(value("resource"), Some("https://h.example.com/mcp"));
        assert!(!url.as_str().contains(&secrets.verifier), "the verifier never leaves by the browser");
    }

    #[test]
    fn a_callback_counts_only_if_it_is_the_answer() {
        let iss = "iss=https%3A%2F%2Fh.example.com";
        for (sends_iss, query, expected) in [
            (true, format!("code=c&state=s&{iss}"), Ok("c")),
            (false, "code=c&state=s".to_owned(), Ok("c")),
            (false, format!("code=c&state=s&{iss}"), Ok("c")),
            (true, "code=c&state=s".to_owned(), Err("not from the authorization server")),
            (true, "code=c&state=s&iss=https%3A%2F%2Fevil.example.com".to_owned(), Err("not from")),
            (false, "code=c&state=s&iss=https%3A%2F%2Fh.example.com%2F".to_owned(), Err("not from")),
            (true, format!("code=c&state=x&{iss}"), Err("newest link")),
            (true, format!("code=c&{iss}"), Err("newest link")),
            (true, format!("code=c&state=s&state=s&{iss}"), Err("newest link")),
            (true, format!("code=c&code=d&state=s&{iss}"), Err("neither a code")),
            (true, format!("code=&state=s&{iss}"), Err("neither a code")),
            (true, format!("error=access_denied&state=s&{iss}"), Err("refused: access_denied")),
            (true, format!("error=x&error_description=No%1b%5B2J&state=s&{iss}"), Err("refused: No [2J (x)")),
            (true, String::new(), Err("newest link")),
        ] {
            match (code(&query, "s", &server(sends_iss)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{query}: {error}"),
                (found, _) => panic!("{query}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_pasted_url_counts_if_it_is_the_callback() {
        let query = |line| pasted_query(line);
        assert_eq!(query(" http://127.0.0.1:1/callback?code=c&state=s\n").as_deref(), Some("code=c&state=s"));
        for line in ["", "code=c", "http://127.0.0.1:1/other?code=c", "http://127.0.0.1:1/callback"] {
            assert_eq!(query(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_query_without_the_state_gives_a_code(query in "\\PC{0,60}|(code|iss|state|error|=|&|x){0,20}") {
            prop_assert!(code(&query, "the state of this request", &server(false)).is_err());
        }
    }
}
