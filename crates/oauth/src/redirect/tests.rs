use crate::redirect::*;
use proptest::prelude::*;

const CODEX: &str = "http://127.0.0.1/callback/{id}";
const CHATGPT: &str = "https://chatgpt.com/connector/oauth/{id}";

fn hold(rows: &[(&str, &str, bool)]) {
    for &(registered, presented, expected) in rows {
        assert_eq!(is_registered(&[registered], presented), expected, "{registered} and {presented:?}");
    }
}

#[test]
fn redirect_uris_match_exactly_and_nothing_else_does() {
    const WEB: &str = "https://app.example.com/cb";
    const QUERY: &str = "https://app.example.com/cb?tenant=1";
    const PRIVATE: &str = "com.example.app:/cb";
    hold(&[
        (WEB, WEB, true),
        (WEB, "https://app.example.com/cb/", false),
        (WEB, "https://app.example.com/CB", false),
        (WEB, "https://app.example.com/cb2", false),
        (WEB, "https://app.example.com/c", false),
        (WEB, "https://app.example.com/cb?x=1", false),
        (WEB, "https://app.example.com/cb?", false),
        (WEB, "https://app.example.com/cb#", false),
        (WEB, "https://app.example.com/cb#f", false),
        (WEB, "https://app.example.com:443/cb", false),
        (WEB, "https://app.example.com:8443/cb", false),
        (WEB, "https://APP.example.com/cb", false),
        (WEB, "HTTPS://app.example.com/cb", false),
        (WEB, "http://app.example.com/cb", false),
        (WEB, "https://app.example.com./cb", false),
        (WEB, "https://app.example.com.evil.com/cb", false),
        (WEB, "https://evil.com/app.example.com/cb", false),
        (WEB, "https://app.example.com@evil.com/cb", false),
        (WEB, "https://user@app.example.com/cb", false),
        (WEB, "https://user:p@app.example.com/cb", false),
        (WEB, "https://app.example.com\\@evil.com/cb", false),
        (WEB, "https://evil.com\\.app.example.com/cb", false),
        (WEB, "https://app.example.com/x/../cb", false),
        (WEB, "https://app.example.com/./cb", false),
        (WEB, "https://app.example.com//cb", false),
        (WEB, "https://app.example.com/%63b", false),
        (WEB, "https://app.example.com/cb%00", false),
        (WEB, "https://app.example.com/cb\0", false),
        (WEB, "https://app.example.com/cb\r\nLocation: https://evil.com", false),
        (WEB, " https://app.example.com/cb", false),
        (WEB, "https://app.example.com/cb ", false),
        (WEB, "https://аpp.example.com/cb", false),
        (WEB, "https://app.example.com/cｂ", false),
        (WEB, "//app.example.com/cb", false),
        (WEB, "/cb", false),
        (WEB, "", false),
        (QUERY, QUERY, true),
        (QUERY, WEB, false),
        (QUERY, "https://app.example.com/cb?tenant=2", false),
        (QUERY, "https://app.example.com/cb?tenant=1&x=2", false),
        // Plain http to another host than loopback is refused, even if it is registered.
        ("http://app.example.com/cb", "http://app.example.com/cb", false),
        // A private-use scheme.
        (PRIVATE, PRIVATE, true),
        (PRIVATE, "com.example.app:/cb/", false),
        (PRIVATE, "com.example.app2:/cb", false),
        (PRIVATE, "com.example.app://cb", false),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp/oauth/callback", true),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp:1/oauth/callback", false),
    ]);
}

#[test]
fn a_loopback_callback_has_any_port_and_an_id_stands_for_one_segment() {
    const LOOPBACK: &str = "http://localhost/callback";
    hold(&[
        // RFC 8252 §7.3: the port of a loopback callback is variable, and nothing else.
        (LOOPBACK, "http://localhost/callback", true),
        (LOOPBACK, "http://localhost:1/callback", true),
        (LOOPBACK, "http://localhost:65535/callback", true),
        (LOOPBACK, "http://localhost:65536/callback", false),
        (LOOPBACK, "http://localhost:0/callback", false),
        (LOOPBACK, "http://localhost:080/callback", false),
        (LOOPBACK, "http://localhost:/callback", false),
        (LOOPBACK, "http://localhost:+80/callback", false),
        (LOOPBACK, "http://localhost:80:80/callback", false),
        (LOOPBACK, "http://localhost:8080@evil.com/callback", false),
        (LOOPBACK, "http://localhost.evil.com:8080/callback", false),
        (LOOPBACK, "http://127.0.0.1:8080/callback", false),
        (LOOPBACK, "http://[::1]:8080/callback", false),
        (LOOPBACK, "https://localhost:8080/callback", false),
        (LOOPBACK, "http://localhost:8080/callback/", false),
        (LOOPBACK, "http://localhost:8080/other", false),
        (LOOPBACK, "http://localhost:8080/callback?x=1", false),
        ("http://localhost:3000/callback", "http://localhost:4000/callback", true),
        ("http://localhost:3000/callback", "http://localhost/callback", true),
        ("http://127.0.0.1/", "http://127.0.0.1:33418/", true),
        ("http://127.0.0.1/", "http://127.0.0.1:33418", false),
        ("http://127.0.0.1/", "http://127.0.0.2:33418/", false),
        ("http://127.0.0.1/", "http://127.1:33418/", false),
        ("http://127.0.0.1/", "http://2130706433:33418/", false),
        ("http://[::1]/cb", "http://[::1]:5000/cb", true),
        ("http://[::1]/cb", "http://[::2]:5000/cb", false),
        ("http://[::1]/cb", "http://[::1]5000/cb", false),
        ("http://[::1]/cb", "http://[::1:5000/cb", false),
        ("http://localhost/cb?a=1", "http://localhost:7/cb?a=1", true),
        // The port of an https callback must match.
        ("https://localhost/cb", "https://localhost:8443/cb", false),
        // One segment of unreserved characters.
        (CHATGPT, "https://chatgpt.com/connector/oauth/abc-123_~.x", true),
        (CHATGPT, "https://chatgpt.com/connector/oauth/", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/a/b", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/a/", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/a?b", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/a%2Fb", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/..", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/.", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/%2e%2E", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/{id}", false),
        (CHATGPT, "https://chatgpt.com:8443/connector/oauth/a", false),
        (CHATGPT, "https://evil.com/connector/oauth/a", false),
        (CHATGPT, "https://chatgpt.com/connector/oauth/a@evil.com", false),
        (CHATGPT, "http://chatgpt.com/connector/oauth/a", false),
        ("https://h.example.com/{id}/cb?x=1", "https://h.example.com/7/cb?x=1", true),
        ("https://h.example.com/{id}/cb?x=1", "https://h.example.com/7/8/cb?x=1", false),
        ("https://{id}/cb", "https://evil.com/cb", false),
        ("https://{id}.example.com/cb", "https://evil.example.com/cb", false),
        ("https://h.example.com/a{id}", "https://h.example.com/ab", false),
        ("https://h.example.com/{id}b", "https://h.example.com/ab", false),
        ("https://h.example.com/cb?x={id}", "https://h.example.com/cb?x=1", false),
        ("https://h.example.com/?/{id}", "https://h.example.com/?/1", false),
        ("https://h.example.com/{id}/{id}", "https://h.example.com/a/b", false),
        // The last segment of a loopback callback, at any port.
        (CODEX, "http://127.0.0.1:50123/callback/aB3-_x", true),
        (CODEX, "http://127.0.0.1/callback/a", true),
        (CODEX, "http://127.0.0.1:50123/callback", false),
        (CODEX, "http://127.0.0.1:50123/callback/", false),
        (CODEX, "http://127.0.0.1:50123/callback/a/b", false),
        (CODEX, "http://127.0.0.1:50123/callback/a/", false),
        (CODEX, "http://127.0.0.1:50123/callback/a?b", false),
        (CODEX, "http://127.0.0.1:50123/callback?/a", false),
        (CODEX, "http://127.0.0.1:50123/callback/a%2Fb", false),
        (CODEX, "http://127.0.0.1:50123/callback/..", false),
        (CODEX, "http://127.0.0.1:50123/other/a", false),
        (CODEX, "http://localhost:50123/callback/a", false),
        (CODEX, "http://127.0.0.1.evil.com/callback/a", false),
        (CODEX, "http://127.0.0.1:80@evil.com/callback/a", false),
        (CODEX, "https://127.0.0.1:50123/callback/a", false),
        ("http://localhost/{id}", "http://localhost:1/a", true),
        ("http://localhost/{id}", "http://localhost", false),
        ("http://localhost/a{id}", "http://localhost/ab", false),
        ("http://localhost/{id}/cb", "http://localhost/a/cb", false),
        ("http://localhost/cb?x=/{id}", "http://localhost/cb?x=/1", false),
        ("app://host/{id}", "app://host/a", false),
    ]);
}

#[test]
fn what_no_callback_is_never_counts_even_if_registered() {
    for (uri, why) in [
        ("javascript:alert(1)", RedirectUriError::NotAbsolute),
        ("javascript://h/%0aalert(1)", RedirectUriError::Scheme),
        ("JavaScript://h/", RedirectUriError::Scheme),
        ("data:text/html,x", RedirectUriError::NotAbsolute),
        ("data://h/", RedirectUriError::Scheme),
        ("vbscript://h/x", RedirectUriError::Scheme),
        ("file:///etc/passwd", RedirectUriError::Authority),
        ("file://h/etc/passwd", RedirectUriError::Scheme),
        ("blob:https://h/x", RedirectUriError::NotAbsolute),
        ("view-source://h/", RedirectUriError::Scheme),
        ("intent://h/", RedirectUriError::Scheme),
        ("wss://h/", RedirectUriError::Scheme),
        ("ftp://h/", RedirectUriError::Scheme),
        ("about:blank", RedirectUriError::NotAbsolute),
        ("mailto:a", RedirectUriError::NotAbsolute),
        ("urn:ietf:wg:oauth:2.0:oob", RedirectUriError::NotAbsolute),
        ("http://h/cb", RedirectUriError::Scheme),
        ("http://localhost.example.com/cb", RedirectUriError::Scheme),
        ("http://127.0.0.1.example.com/", RedirectUriError::Scheme),
        ("https://", RedirectUriError::Authority),
        ("https:///cb", RedirectUriError::Authority),
        ("https://h%2eexample/cb", RedirectUriError::Authority),
        ("https://h/a/../b", RedirectUriError::DotSegment),
        ("https://h/a/.%2E", RedirectUriError::DotSegment),
        ("https://h/cb#", RedirectUriError::Fragment),
        ("https://h/c b", RedirectUriError::Character),
        ("https://h/c\tb", RedirectUriError::Character),
        ("https://h/\u{202e}", RedirectUriError::Character),
        ("app:cb", RedirectUriError::NotAbsolute),
        ("com.example.app:cb", RedirectUriError::NotAbsolute),
        ("1app://h/", RedirectUriError::Scheme),
    ] {
        assert_eq!(check(uri), Err(why), "{uri}");
        assert!(!is_registered(&[uri], uri), "{uri}");
    }
    let long = format!("https://h/{}", "a".repeat(MAX_LENGTH));
    assert_eq!(check(&long), Err(RedirectUriError::TooLong));
}

#[test]
fn parameters_are_added_to_the_query_that_is_there() {
    for (uri, expected) in [
        ("https://h/cb", "https://h/cb?code=a%26b&state=%C3%A9+%22"),
        ("https://h/cb?", "https://h/cb?code=a%26b&state=%C3%A9+%22"),
        ("https://h/cb?a=b", "https://h/cb?a=b&code=a%26b&state=%C3%A9+%22"),
        ("https://h/cb?a=b&", "https://h/cb?a=b&code=a%26b&state=%C3%A9+%22"),
        ("app:/cb", "app:/cb?code=a%26b&state=%C3%A9+%22"),
    ] {
        assert_eq!(with_parameters(uri, &[("code", "a&b"), ("state", "é \"")]), expected);
    }
}

proptest! {
    #[test]
    fn whatever_is_presented_nothing_panics_and_what_matches_is_where_it_was_registered(
        registered in prop_oneof![
            Just("https://app.example.com/cb".to_owned()),
            Just(CHATGPT.to_owned()),
            Just("http://localhost/callback".to_owned()),
            Just("http://[::1]/".to_owned()),
            Just("com.example.app:/cb".to_owned()),
            "\\PC{0,40}",
        ],
        tail in "\\PC{0,12}|[a-z0-9:/?#@.%\\\\]{0,12}",
        at in 0usize..60,
    ) {
        // The registered URI with an insertion.
        let mut at = at.min(registered.len());
        while !registered.is_char_boundary(at) { at -= 1; }
        let presented = format!("{}{tail}{}", &registered[..at], &registered[at..]);
        if is_registered(&[&registered], &presented) {
            let parsed = url::Url::parse(&presented).unwrap();
            prop_assert!(presented.is_ascii() && parsed.fragment().is_none());
            prop_assert!(parsed.username().is_empty() && parsed.password().is_none());
            let origin = url::Url::parse(&registered).unwrap();
            prop_assert_eq!(parsed.host_str(), origin.host_str());
            prop_assert_eq!(parsed.scheme(), origin.scheme());
            prop_assert_eq!(parsed.query(), origin.query());
            prop_assert_eq!(parsed.path_segments().map(Iterator::count), origin.path_segments().map(Iterator::count));
            if parsed.scheme() != "http" {
                prop_assert_eq!(parsed.port(), origin.port());
            }
        }
    }

    #[test]
    fn a_browser_reads_a_good_uri_as_it_is_written(uri in "(https|http|app|com\\.x)://?[a-z0-9.:@\\[\\]-]{0,20}[a-zA-Z0-9/?%._~+&=;-]{0,20}") {
        if check(&uri).is_ok() && uri.starts_with("https://") {
            let parsed = url::Url::parse(&uri);
            // The host that is compared is the host that a browser connects to.
            if let Ok(parsed) = parsed {
                let rest = uri.strip_prefix("https://").unwrap();
                let host = rest.split(['/', '?', ':']).next().unwrap();
                if let Some(url::Host::Domain(domain)) = parsed.host() {
                    // Hosts are case-insensitive, but the comparison is case-sensitive: it can only refuse more.
                    prop_assert!(domain.eq_ignore_ascii_case(host), "{} and {}", domain, host);
                }
            }
        }
    }

    #[test]
    fn a_loopback_callback_matches_at_every_port(port in 1u16..) {
        let presented = format!("http://localhost:{port}/callback");
        prop_assert!(is_registered(&["http://localhost/callback"], &presented));
        prop_assert!(!is_registered(&["http://127.0.0.1/callback"], &presented));
    }

    #[test]
    fn what_is_added_can_be_read_back(state in "\\PC{0,40}", query in "[a-z=&]{0,10}") {
        let uri = with_parameters(&format!("https://h/cb?{query}"), &[("code", "c"), ("state", &state)]);
        let parsed = url::Url::parse(&uri).unwrap();
        let back: Vec<_> = parsed.query_pairs().filter(|(name, _)| name == "state").collect();
        prop_assert_eq!(back.last().map(|(_, value)| value.to_string()), Some(state));
    }
}
