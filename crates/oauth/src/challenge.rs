//! `WWW-Authenticate`: what a client without a good token is told (RFC 6750 §3, RFC 9728 §5.1).

use crate::{Caller, verify::Unauthenticated};
use http::{Extensions, HeaderValue};
use portcullis_config::ServerConfig;
use portcullis_core::{PublicUrl, Scope, scope};

/// In a request's extensions: the URL by which its client knows the endpoint, where that is an alias.
#[derive(Clone, Debug)]
pub struct Resource(pub PublicUrl);

impl Resource {
    /// That of a request, else the endpoint's own.
    #[must_use]
    pub fn of<'a>(extensions: &'a Extensions, own: &'a PublicUrl) -> &'a PublicUrl {
        extensions.get::<Self>().map_or(own, |resource| &resource.0)
    }
}

/// The challenges of one endpoint.
pub struct Challenges {
    realm: String,
    scopes: String,
}

impl Challenges {
    /// Those of the endpoint with this configuration.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let scopes = scope::join(&Scope::ALL.into_iter().collect());
        Self { realm: quoted(&config.endpoint), scopes: quoted(&scopes) }
    }

    /// The challenge for a request to `resource` that was not authenticated.
    ///
    /// Without any token, and with another scheme, there is no `error`: nothing was wrong yet (RFC 6750 §3.1).
    #[must_use]
    pub fn bearer(&self, why: Unauthenticated, resource: &PublicUrl) -> HeaderValue {
        let error = match why {
            Unauthenticated::Missing | Unauthenticated::OtherScheme | Unauthenticated::Unavailable => String::new(),
            Unauthenticated::NotBearer
            | Unauthenticated::Rejected(_)
            | Unauthenticated::External(_)
            | Unauthenticated::Ended(_) => {
                format!("error=\"invalid_token\", error_description={}, ", quoted(&why.to_string()))
            }
        };
        header(format!(
            "Bearer realm={}, {error}resource_metadata={}, scope={}",
            self.realm,
            quoted(&resource.resource_metadata_url()),
            self.scopes
        ))
    }

    /// The challenge for a client that did not prove itself at the token endpoint (RFC 7617).
    #[must_use]
    pub fn basic(&self) -> HeaderValue {
        header(format!("Basic realm={}, charset=\"UTF-8\"", self.realm))
    }
}

/// The challenge for a token whose scopes do not reach (RFC 6750 §3.1). It asks for what is needed and what is held: a
/// client that asks for exactly that loses nothing.
#[must_use]
pub fn insufficient_scope(needed: Scope, caller: &Caller, description: &str, url: &PublicUrl) -> HeaderValue {
    let mut scopes = caller.scopes.clone();
    scopes.insert(needed);
    header(format!(
        "Bearer error=\"insufficient_scope\", error_description={}, scope={}, resource_metadata={}",
        quoted(description),
        quoted(&scope::join(&scopes)),
        quoted(&url.resource_metadata_url())
    ))
}

fn header(text: String) -> HeaderValue {
    // Only names and URLs that admission holds to plain ASCII, and texts from here, go into it.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// A quoted string (RFC 9110 §5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// A text with nothing in it but what RFC 6749 and RFC 6750 allow in descriptions: printable ASCII without quotes and
/// backslashes.
pub(super) fn plain(text: &str) -> String {
    let allowed = |character| match character {
        '"' | '\\' => '\'',
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(allowed).collect()
}
