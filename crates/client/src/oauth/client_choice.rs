//! Which OAuth client a sign-in uses: the one that the user names, else the one of the last sign-in, else a new
//! registration (RFC 7591).

use crate::credentials::StoredClient;
use serde::{Deserialize, Serialize};
use url::Url;

/// The redirect URI to register. The server accepts any port of a loopback address (RFC 8252 §7.3).
pub(super) const REGISTERED_REDIRECT_URI: &str = "http://127.0.0.1/callback";
/// The name that users see on the consent page.
const CLIENT_NAME: &str = "Portcullis command line";

/// The client that the user names on the command line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GivenClient {
    /// `--client-id`.
    pub id: Option<String>,
    /// The content of `--client-secret-file`.
    pub secret: Option<String>,
}

/// The reason why no OAuth client can be used for the sign-in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientChoiceError {
    /// The server registers no clients, and none is given.
    #[error(
        "this endpoint does not let clients register themselves. Ask an administrator for the name of an OAuthClient with type: Public and redirectUris: [{REGISTERED_REDIRECT_URI}] (the preset claude-code has it), and pass it as --client-id; or for spec.clients.dynamicRegistration"
    )]
    NoRegistration,
    /// A secret is given without a client id.
    #[error("--client-secret-file needs --client-id: the secret is that of one client")]
    SecretWithoutId,
}

/// The client of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientChoice {
    /// A client that exists.
    Known(StoredClient),
    /// The client of the last sign-in, which registered itself. It is used if the server still knows it.
    Registered(StoredClient, Url),
    /// A new registration at this URL.
    Register(Url),
}

/// Chooses the client. `stored` is that of the last sign-in at the same authorization server.
pub(super) fn choose(
    given: &GivenClient,
    stored: Option<&StoredClient>,
    registration: Option<&Url>,
) -> Result<ClientChoice, ClientChoiceError> {
    if let Some(id) = &given.id {
        let client = StoredClient { id: id.clone(), secret: given.secret.clone(), registered: false };
        return Ok(ClientChoice::Known(client));
    }
    if given.secret.is_some() {
        return Err(ClientChoiceError::SecretWithoutId);
    }
    match (stored, registration) {
        (Some(client), Some(url)) if client.registered => Ok(ClientChoice::Registered(client.clone(), url.clone())),
        (Some(client), _) if !client.registered => Ok(ClientChoice::Known(client.clone())),
        (_, Some(url)) => Ok(ClientChoice::Register(url.clone())),
        (_, None) => Err(ClientChoiceError::NoRegistration),
    }
}

/// The body of a registration request (RFC 7591 §3.1): a public client.
#[derive(Serialize)]
pub(super) struct RegistrationRequest {
    client_name: &'static str,
    redirect_uris: [&'static str; 1],
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
    token_endpoint_auth_method: &'static str,
}

impl RegistrationRequest {
    pub(super) const NEW: Self = Self {
        client_name: CLIENT_NAME,
        redirect_uris: [REGISTERED_REDIRECT_URI],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: "none",
    };
}

/// The members of the response (RFC 7591 §3.2.1) that a client uses. A server may give a secret unasked.
#[derive(Deserialize)]
pub(super) struct RegistrationResponse {
    client_id: String,
    client_secret: Option<String>,
}

impl From<RegistrationResponse> for StoredClient {
    fn from(response: RegistrationResponse) -> Self {
        Self { id: response.client_id, secret: response.client_secret, registered: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str, registered: bool) -> StoredClient {
        StoredClient { id: id.to_owned(), secret: None, registered }
    }

    #[test]
    fn the_choice_is_the_given_client_then_the_stored_one_then_a_registration() {
        let url: Url = "https://h.example.com/register".parse().unwrap();
        let given = |id: &str| GivenClient { id: Some(id.to_owned()), secret: None };
        let (none, cli, last) = (GivenClient::default(), stored("cli", false), stored("r1", true));
        let secret = GivenClient { id: None, secret: Some("s".to_owned()) };
        for (given, stored, registration, expected) in [
            (given("cli"), Some(&last), Some(&url), Ok(ClientChoice::Known(cli.clone()))),
            (none.clone(), Some(&last), Some(&url), Ok(ClientChoice::Registered(last.clone(), url.clone()))),
            (none.clone(), Some(&last), None, Err(ClientChoiceError::NoRegistration)),
            (none.clone(), Some(&cli), None, Ok(ClientChoice::Known(cli.clone()))),
            (none.clone(), None, Some(&url), Ok(ClientChoice::Register(url.clone()))),
            (none.clone(), None, None, Err(ClientChoiceError::NoRegistration)),
            (secret, None, Some(&url), Err(ClientChoiceError::SecretWithoutId)),
        ] {
            assert_eq!(choose(&given, stored, registration), expected);
        }
        assert!(ClientChoiceError::NoRegistration.to_string().contains("--client-id"));
    }

    #[test]
    fn a_registration_is_for_a_public_client_at_a_loopback_address() {
        let request = serde_json::to_value(RegistrationRequest::NEW).unwrap();
        assert_eq!(request["redirect_uris"], serde_json::json!(["http://127.0.0.1/callback"]));
        assert_eq!(request["token_endpoint_auth_method"], "none");
        let response: RegistrationResponse = serde_json::from_str(r#"{"client_id": "r1", "more": 1}"#).unwrap();
        assert_eq!(StoredClient::from(response), stored("r1", true));
    }
}
