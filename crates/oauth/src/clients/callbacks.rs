//! The redirect URIs of clients that register themselves. [`redirect::check`] and the admission of `OAuthClient` must
//! both accept them, so that the client can be stored.

use crate::redirect;
use portcullis_core::redirect_uri::{self, MAX_COUNT};

/// Checks redirect URIs. The error says what is wrong with them.
pub(super) fn check(uris: &[String]) -> Result<(), String> {
    if uris.is_empty() || uris.len() > MAX_COUNT {
        return Err(format!("redirect_uris must have 1 to {MAX_COUNT} entries"));
    }
    for uri in uris {
        redirect::check(uri).map_err(|why| {
            let uri: String = uri.escape_debug().take(128).collect();
            format!("the redirect URI {uri} cannot be used: {why}")
        })?;
    }
    redirect_uri::check_all(uris).map_err(|error| format!("redirect_uris: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_are_those_that_an_oauth_client_may_have() {
        for (uri, taken) in [
            ("https://claude.ai/api/mcp/auth_callback", true),
            ("https://agent.example.com/callback?tenant=a%20b", true),
            ("http://localhost:8787/callback", true),
            ("http://127.0.0.1:33418/", true),
            ("http://[::1]/callback", true),
            ("cursor://anysphere.cursor-mcp/oauth/callback", true),
            ("com.example.app:/callback", true),
            ("http://agent.example.com/callback", false),
            ("http://localhost.evil.com/callback", false),
            ("http://localhost:80@evil.com/", false),
            ("https://agent.example.com/callback#f", false),
            ("https://claude.ai@evil.com/", false),
            ("https://*.example.com/", false),
            ("https://evil.com/{id}", false),
            ("https://evil.com/a b", false),
            ("https://evil.com/\r\nx: y", false),
            ("https://сlaude.ai/callback", false),
            ("https:\\\\evil.com", false),
            ("https://a.example.com/../x", false),
            ("//evil.com/callback", false),
            ("/callback", false),
            ("javascript:alert(1)", false),
            ("javascript://claude.ai/%0aalert(1)", false),
            ("JAVASCRIPT:alert(1)", false),
            ("data:text/html,x", false),
            ("vbscript:x", false),
            ("file:///etc/passwd", false),
            ("blob:https://claude.ai/1", false),
            ("about:blank", false),
            ("app:callback", false),
            ("", false),
        ] {
            assert_eq!(check(&[uri.to_owned()]).is_ok(), taken, "{uri}: {:?}", check(&[uri.to_owned()]));
        }
        assert!(check(&[]).is_err());
        let many = |count: usize| (0..count).map(|n| format!("https://a.example.com/{n}")).collect::<Vec<_>>();
        assert!(check(&many(MAX_COUNT)).is_ok() && check(&many(MAX_COUNT + 1)).is_err());
        assert!(check(&["https://a.example.com/x".to_owned(), "https://a.example.com/x".to_owned()]).is_err());
        assert!(check(&[format!("https://a.example.com/{}", "a".repeat(2048))]).is_err());
    }
}
