//! The `WWW-Authenticate` challenges for clients without a valid token (RFC 6750 §3, RFC 9728 §5.1).

use crate::{Caller, verify::Unauthenticated};
use http::{Extensions, HeaderValue};
use portcullis_config::ServerConfig;
use portcullis_core::{PublicUrl, Scope, scope};

/// A request extension: the URL by which the client knows the endpoint, if it is an alias.
#[derive(Clone, Debug)]
pub struct Resource(pub PublicUrl);

impl Resource {
    /// The URL in a request's extensions, or the endpoint's own.
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
    /// The challenges of the endpoint with this configuration.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let scopes = scope::join(&Scope::ALL.into_iter().collect());
        Self { realm: quoted(&config.endpoint), scopes: quoted(&scopes) }
    }

    /// The challenge for an unauthenticated request to `resource`.
    ///
    /// A request without a token, or with another scheme, gets no `error`: nothing was wrong yet (RFC 6750 §3.1).
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

    /// The challenge for a client that failed to authenticate at the token endpoint (RFC 7617).
    #[must_use]
    pub fn basic(&self) -> HeaderValue {
        header(format!("Basic realm={}, charset=\"UTF-8\"", self.realm))
    }
}

/// The challenge for a token with insufficient scopes (RFC 6750 §3.1). It lists the needed scope and those of the
/// token: a client that requests exactly these loses nothing.
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
    // The text consists of names and URLs, which admission restricts to ASCII, and of texts from this crate.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// A quoted string (RFC 9110 §5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// Replaces all characters that RFC 6749 and RFC 6750 do not allow in descriptions. Printable ASCII without quotes and
/// backslashes is allowed.
pub(super) fn plain(text: &str) -> String {
    let allowed = |character| match character {
        '"' | '\\' => '\'',
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().map(allowed).collect()
}
