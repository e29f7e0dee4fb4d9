//! Errors of the endpoints that clients call directly: `/token`, `/revoke` and `/introspect` (RFC 6749 §5.2, RFC 7009
//! §2.2.1, RFC 8707 §2).

use crate::{
    challenge::{Challenges, plain},
    clients::assertion::AssertionError,
    jwt::SigningError,
    parameters::ParameterError,
    refresh::Invalid,
    scopes::ScopeError,
    user_rules::Ended,
    workload::WorkloadError,
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use portcullis_core::{client::Grant, grant::RevocationReason};
use serde_json::json;

/// The value of `Retry-After` for temporary errors, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request is refused. The messages are for the person who configures the client.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The content type is not that of a form.
    #[error("send the parameters as application/x-www-form-urlencoded")]
    NotAForm,
    /// A parameter is missing.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is repeated or malformed.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The request has several kinds of client credentials, or two client ids.
    #[error("present the client's credentials once: either in the Authorization header or in the body")]
    TwoCredentials,
    /// The header does not follow RFC 6749 §2.3.1.
    #[error("the Authorization header must be Basic with the client id and secret, form-urlencoded, joined by a colon")]
    MalformedBasic,
    /// The request has no client credentials, not even an id.
    #[error(
        "the client must authenticate: send its id and secret in the Authorization header or in the body, or for a public client its client_id"
    )]
    NoCredentials,
    /// A confidential client presents only its id.
    #[error(
        "this client is confidential: it must present its secret, in the Authorization header or in the body, or a client_assertion"
    )]
    NoSecret,
    /// The client is unknown, or its secret is wrong. The message does not say which.
    #[error("the client is unknown or its secret is wrong; the secret may have been rotated: read it again")]
    WrongCredentials,
    /// The type of the assertion is not supported.
    #[error("client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer")]
    UnsupportedAssertion,
    /// The client's assertion is invalid.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The client's metadata document cannot be used.
    #[error("{0}")]
    Document(String),
    /// The grant type is not supported.
    #[error(
        "the grant type must be authorization_code, refresh_token, client_credentials, or jwt-bearer for a service account"
    )]
    UnsupportedGrant,
    /// The client may not use this grant type.
    #[error("the client may not use the grant {}; add it to spec.grants of its OAuthClient", .0.as_str())]
    UnauthorizedClient(Grant),
    /// A public client requested an introspection, which only confidential clients may.
    #[error("tokens are introspected for confidential clients only")]
    PublicClient,
    /// A scope is unknown, or no requested scope is allowed.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The resource is not this endpoint.
    #[error("the resource must be {0}")]
    InvalidTarget(String),
    /// The code, the token or the code verifier is invalid.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// The login or the local user no longer exists.
    #[error("the user can no longer sign in here")]
    UserGone,
    /// The login no longer lets the user in.
    #[error("{}; let the user sign in and approve again", ended(*.0))]
    UserEnded(RevocationReason),
    /// The user's login cannot be used at the moment.
    #[error("the user's login cannot be used at the moment; the consent remains valid, try again shortly")]
    LoginUnavailable,
    /// A recheck is due, but the user's provider cannot be reached.
    #[error(
        "the user's identity provider cannot be asked at the moment whether the user may still sign in; the consent remains valid, try again shortly"
    )]
    ProviderUnavailable,
    /// The refresh token is invalid.
    #[error(transparent)]
    Refresh(#[from] Invalid),
    /// An administrator ended the user's access.
    #[error(transparent)]
    AccessEnded(#[from] Ended),
    /// The token cannot be revoked individually.
    #[error(
        "access tokens that no user approved cannot be revoked one by one; they expire soon, and deleting the OAuthClient ends them at once"
    )]
    UnsupportedTokenType,
    /// The token of a service account is invalid.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A store cannot be reached.
    #[error("grants or clients cannot be reached at the moment; try again shortly")]
    Unavailable,
    /// A token could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl OAuthError {
    /// The OAuth error code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAForm | Self::Missing(_) | Self::Parameter(_) | Self::TwoCredentials => "invalid_request",
            Self::Unavailable
            | Self::LoginUnavailable
            | Self::ProviderUnavailable
            | Self::Assertion(AssertionError::Busy) => "temporarily_unavailable",
            Self::MalformedBasic
            | Self::NoCredentials
            | Self::NoSecret
            | Self::WrongCredentials
            | Self::UnsupportedAssertion
            | Self::Assertion(_)
            | Self::Document(_) => "invalid_client",
            Self::UnsupportedGrant => "unsupported_grant_type",
            Self::UnauthorizedClient(_) | Self::PublicClient => "unauthorized_client",
            Self::Scope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::InvalidGrant(_) | Self::UserGone | Self::UserEnded(_) | Self::Refresh(_) | Self::AccessEnded(_) => {
                "invalid_grant"
            }
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::Workload(why) => why.code(),
            Self::Signing(_) => "server_error",
        }
    }

    /// The reason, for audit events. Never a text from the client, which may be a misplaced secret.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotAForm => "not_a_form",
            Self::Missing(_) => "missing_parameter",
            Self::Parameter(_) => "invalid_parameter",
            Self::TwoCredentials => "two_credentials",
            Self::MalformedBasic => "malformed_basic",
            Self::NoCredentials => "no_credentials",
            Self::NoSecret => "no_secret",
            Self::WrongCredentials => "wrong_credentials",
            Self::UnsupportedAssertion | Self::Assertion(_) => "invalid_assertion",
            Self::Document(_) => "invalid_document",
            Self::PublicClient => "public_client",
            Self::InvalidGrant(reason) => reason,
            Self::UserGone => "user_gone",
            Self::UserEnded(_) => "user_ended",
            Self::LoginUnavailable => "login_unavailable",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Refresh(why) => why.reason(),
            Self::AccessEnded(ended) => ended.reason(),
            Self::Workload(why) => why.reason(),
            _ => self.code(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Workload(why) if why.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unavailable
            | Self::LoginUnavailable
            | Self::ProviderUnavailable
            | Self::Assertion(AssertionError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Signing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ if self.code() == "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The HTTP response. A 401 needs a challenge (RFC 9110 §15.5.2).
    #[must_use]
    pub fn into_response(self, challenges: &Challenges) -> Response {
        let body = Json(json!({"error": self.code(), "error_description": plain(&self.to_string())}));
        let mut response = (self.status(), no_store(), body).into_response();
        match response.status() {
            StatusCode::UNAUTHORIZED => response.headers_mut().insert(header::WWW_AUTHENTICATE, challenges.basic()),
            StatusCode::SERVICE_UNAVAILABLE => response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER),
            _ => None,
        };
        response
    }
}

/// The text for the reason why a user's access ended.
const fn ended(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::PasswordChanged => "the user's password was changed",
        RevocationReason::ProviderRefused => "the identity provider no longer lets the user in",
        RevocationReason::SignInTooOld => {
            "the user signed in too long ago, and the identity provider cannot be asked again"
        }
        _ => "the login no longer allows the user",
    }
}

/// The cache headers of every response that may contain a credential (RFC 6749 §5.1).
pub(super) fn no_store() -> [(HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}
