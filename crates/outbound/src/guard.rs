//! Protection against server-side request forgery: a server fetches untrusted URLs only from hosts with a public name,
//! over https, at public addresses.
//!
//! Two checks, both pure. [`admit`] checks the URL itself, without the network; [`is_public`] checks each address of
//! its host. The caller must connect to an address that was checked, and must not resolve the name a second time.

pub use portcullis_core::ip_ranges::is_public;
use url::{Host, Url};

/// The longest URL that is fetched, in bytes.
const MAX_URL: usize = 2048;

/// Suffixes of names that are never public (RFC 6761, RFC 6762, RFC 8375, RFC 9476, ICANN's `internal`, and the names
/// of Services as the cluster's resolver completes them).
const PRIVATE_SUFFIXES: [&str; 10] =
    ["localhost", "local", "internal", "localdomain", "home.arpa", "onion", "alt", "test", "invalid", "svc"];

/// Why a URL is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is not a URL, or it is too long.
    #[error("it is not a URL of at most 2048 characters")]
    Malformed,
    /// The scheme is not https.
    #[error("it must begin with https://")]
    Scheme,
    /// The URL has a port other than 443.
    #[error("it must not name a port; documents are fetched from port 443 only")]
    Port,
    /// The URL has a user name or a password.
    #[error("it must have no user information")]
    UserInformation,
    /// The URL has a fragment.
    #[error("it must have no fragment")]
    Fragment,
    /// The host is an address instead of a name.
    #[error("its host must be a name, not an address")]
    Address,
    /// The host is a name that cannot be public.
    #[error("its host must be the full name of a public host")]
    Name,
}

/// Parses a URL, and returns it if it may be fetched.
pub fn admit(text: &str) -> Result<Url, Refused> {
    if text.len() > MAX_URL {
        return Err(Refused::Malformed);
    }
    let url = Url::parse(text).map_err(|_| Refused::Malformed)?;
    if url.scheme() != "https" {
        return Err(Refused::Scheme);
    }
    // The parser has converted every spelling of an address, such as `0x7f.1` and `2130706433`, to an address.
    let Some(Host::Domain(host)) = url.host() else { return Err(Refused::Address) };
    if !is_public_name(host) {
        return Err(Refused::Name);
    }
    // The parser has also removed `:443`.
    if url.port().is_some() {
        return Err(Refused::Port);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::UserInformation);
    }
    if url.fragment().is_some() {
        return Err(Refused::Fragment);
    }
    Ok(url)
}

fn is_public_name(host: &str) -> bool {
    // With a trailing dot, the resolver would see the same name, but the comparison with the suffixes would fail.
    let dotted = host.contains('.') && !host.ends_with('.');
    let under = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    dotted && !PRIVATE_SUFFIXES.into_iter().any(under)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_admitted_by_what_they_say() {
        use Refused::{Address, Fragment, Malformed, Name, Port, Scheme, UserInformation};
        for (text, expected) in [
            ("https://claude.ai/oauth/client.json", None),
            ("https://CLAUDE.ai:443/oauth/client.json?v=2", None),
            ("https://xn--mnchen-3ya.example.com/client", None),
            ("http://claude.ai/client", Some(Scheme)),
            ("ftp://claude.ai/client", Some(Scheme)),
            ("file:///etc/passwd", Some(Scheme)),
            ("gopher://claude.ai/", Some(Scheme)),
            ("//claude.ai/client", Some(Malformed)),
            ("https://", Some(Malformed)),
            ("https://claude.ai:8443/client", Some(Port)),
            ("https://claude.ai:6443/", Some(Port)),
            ("https://user@claude.ai/", Some(UserInformation)),
            ("https://claude.ai@evil.example.com/", Some(UserInformation)),
            ("https://:x@claude.ai/", Some(UserInformation)),
            ("https://claude.ai/#a", Some(Fragment)),
            ("https://127.0.0.1/", Some(Address)),
            ("https://127.1/", Some(Address)),
            ("https://2130706433/", Some(Address)),
            ("https://0x7f000001/", Some(Address)),
            ("https://0x7f.1/", Some(Address)),
            ("https://0177.0.0.1/", Some(Address)),
            ("https://017700000001/", Some(Address)),
            ("https://8.8.8.8/", Some(Address)),
            ("https://127.0.0.1./", Some(Address)),
            ("https://①②⑦.⓪.⓪.①/", Some(Address)),
            ("https://127。0。0。1/", Some(Address)),
            ("https://%31%32%37.0.0.1/", Some(Address)),
            ("https://[::1]/", Some(Address)),
            ("https://[::ffff:127.0.0.1]/", Some(Address)),
            ("https://[2606:4700::1111]/", Some(Address)),
            ("https://[fe80::1%25eth0]/", Some(Malformed)),
            ("https://999.1.1.1/", Some(Malformed)),
            ("https://localhost/", Some(Name)),
            ("https://kubernetes/", Some(Name)),
            ("https://claude.ai./", Some(Name)),
            ("https://a.localhost/", Some(Name)),
            ("https://kubernetes.default.svc.cluster.local/", Some(Name)),
            ("https://kubernetes.default.svc/", Some(Name)),
            ("https://metadata.google.internal/", Some(Name)),
            ("https://printer.local/", Some(Name)),
            ("https://router.home.arpa/", Some(Name)),
            ("https://notlocal.example.com/", None),
            ("https://mylocal.ai/", None),
        ] {
            assert_eq!(admit(text).err(), expected, "{text}");
        }
        let long = format!("https://claude.ai/{}", "a".repeat(MAX_URL));
        assert_eq!(admit(&long).err(), Some(Malformed));
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_is_a_name_at_the_usual_port(
            text in "\\PC{0,60}|https://[a-z0-9.@:\\[\\]%x\\\\/#?-]{0,40}|https://(0x[0-9a-f]{1,8}|[0-9]{1,10}|[0-9.]{3,15})/"
        ) {
            if let Ok(url) = admit(&text) {
                prop_assert_eq!((url.scheme(), url.port(), url.username(), url.password()), ("https", None, "", None));
                prop_assert!(matches!(url.host(), Some(Host::Domain(host)) if host.contains('.')));
            }
        }
    }
}
