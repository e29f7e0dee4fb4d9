//! Loopback hosts, for which plain http is allowed (RFC 8252 §7.3).

use url::{Host, Url};

/// The loopback hosts as in URLs.
pub const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// [`HOSTS`] as a regular expression within a CEL string.
#[must_use]
pub fn pattern() -> String {
    let escaped = |c| match c {
        '.' => "[.]".to_owned(),
        '[' | ']' => format!(r"\\{c}"),
        c => c.to_string(),
    };
    format!("({})", HOSTS.map(|host| host.chars().map(escaped).collect::<String>()).join("|"))
}

/// Whether the host of `url` is `localhost` or any loopback address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether `url` is safe for secrets: https, or http on a loopback host if `allows_http`.
#[must_use]
pub fn is_secure(url: &Url, allows_http: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => allows_http && is_loopback(url),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_those_of_this_machine() {
        for (url, expected) in [
            ("http://localhost/", true),
            ("http://LOCALHOST:80/", true),
            ("http://127.0.0.1/", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost.example.com/", false),
            ("http://128.0.0.1/", false),
            ("http://[::2]/", false),
            ("app:/path", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
        assert_eq!(pattern(), r"(localhost|127[.]0[.]0[.]1|\\[::1\\])");
    }
}
