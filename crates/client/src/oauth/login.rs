//! Sign-in by the browser with a loopback redirect (RFC 8252), and its end (RFC 7009).

use super::{
    callback::{self, CallbackError},
    client_choice::{self, ClientChoice, ClientChoiceError, GivenClient, RegistrationRequest, RegistrationResponse},
    discovery::{Discovered, DiscoveryError, discover},
    listener::CallbackListener,
    metadata::MetadataError,
    pkce::RequestSecrets,
    token::{self, TokenError, TokenGrant},
};
use crate::{
    credentials::{Credentials, StoredClient},
    store::{Store, StoreError, StoredIn},
};
use portcullis_core::{PublicUrl, clock::Clock};
use portcullis_outbound::{HttpClient, RequestError, ResponseError};
use rand::CryptoRng;
use std::{io, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use url::Url;

/// The time that a user has in the browser.
const SIGN_IN: Duration = Duration::from_mins(10);
/// A token that no server issues: the response to its revocation shows only whether the client is known.
const NO_TOKEN: &str = "none";

/// The options of a sign-in.
pub struct LoginOptions {
    /// The endpoint.
    pub url: PublicUrl,
    /// The client that the user names.
    pub client: GivenClient,
    /// The scopes to request. `None`: those that the endpoint names.
    pub scope: Option<String>,
}

/// Why a sign-in failed. The messages contain no secret.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The authorization server cannot be found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The authorization server cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// No OAuth client can be used.
    #[error(transparent)]
    Client(#[from] ClientChoiceError),
    /// The registration failed.
    #[error("the registration of a client failed")]
    Registration(#[source] RegistrationError),
    /// The listener failed.
    #[error("the browser's response cannot be received at 127.0.0.1")]
    Listener(#[source] io::Error),
    /// The user did not sign in.
    #[error("the browser did not return within 10 minutes; run the command again")]
    Timeout,
    /// The callback is not a success.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// The code was not exchanged.
    #[error("the sign-in succeeded, but no token was issued")]
    Token(#[source] TokenError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a client could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The request failed without a response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server refused it, or the response cannot be parsed.
    #[error("{0}")]
    Refused(String),
    /// The response cannot be parsed.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

/// The end of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logout {
    /// The grant was revoked, and the tokens were deleted.
    Revoked,
    /// The tokens were deleted. The server could not be asked to revoke them.
    DeletedOnly,
    /// There was no sign-in.
    NotSignedIn,
}

/// Signs a user in, and stores the tokens. Returns them, and where they are. `show` gets the URL to open. `pasted` gives lines of the user, which may be
/// the URL that the browser shows in the end, for a browser on another machine.
pub async fn login(
    options: &LoginOptions,
    http: &HttpClient,
    store: &Store,
    clock: &dyn Clock,
    rng: &mut (dyn CryptoRng + Send),
    show: impl FnOnce(&str),
    mut pasted: mpsc::Receiver<String>,
) -> Result<(Credentials, StoredIn), LoginError> {
    let Discovered { resource, scope, server } = discover(http, &options.url).await?;
    let authorization = server.authorization.as_ref().ok_or(MetadataError::NoSignIn)?;
    // A damaged sign-in is replaced.
    let previous = store.load(&options.url).await.ok().flatten();
    let known = previous.as_ref().filter(|stored| stored.issuer == server.issuer).map(|stored| &stored.client);
    let choice = client_choice::choose(&options.client, known, server.registration.as_ref())?;
    let client = client(choice, http, server.revocation.as_ref()).await?;

    let listener = CallbackListener::bind().await.map_err(LoginError::Listener)?;
    let redirect_uri = listener.redirect_uri();
    let secrets = RequestSecrets::new(rng);
    let scope = options.scope.as_deref().or(scope.as_deref());
    show(callback::authorization_url(authorization, &secrets, &client.id, &redirect_uri, &resource, scope).as_str());

    let by_browser = listener.code(&secrets.state, &server);
    let by_paste = async {
        while let Some(line) = pasted.recv().await {
            match callback::pasted_query(&line).map(|query| callback::code(&query, &secrets.state, &server)) {
                None | Some(Err(CallbackError::OtherState)) => {
                    tracing::warn!("this line is not the URL that the browser shows at the end of the sign-in");
                }
                Some(code) => return code,
            }
        }
        std::future::pending().await
    };
    let response = async {
        tokio::select! {
            response = by_browser => response.map_err(LoginError::Listener)?.map_err(LoginError::Callback),
            code = by_paste => code.map_err(LoginError::Callback),
        }
    };
    let code = timeout(SIGN_IN, response).await.map_err(|_| LoginError::Timeout)??;

    let grant = TokenGrant::Code { code: &code, redirect_uri: &redirect_uri, verifier: &secrets.verifier };
    let tokens = token::request(http, server.token.as_str(), &client, grant, &resource, clock.now()).await;
    let tokens = tokens.map_err(LoginError::Token)?;
    let revocation = server.revocation.as_ref().map(Url::to_string);
    let (issuer, token_endpoint) = (server.issuer.clone(), server.token.to_string());
    let credentials = Credentials::new(options.url.clone(), issuer, token_endpoint, revocation, client, tokens);
    let stored_in = {
        let lock = store.lock(&options.url).await?;
        store.save_new(&credentials, &lock).await?
    };
    if let Some(previous) = previous {
        // The user asked for new tokens. If the old ones cannot be revoked, they end by themselves.
        if !revoked(&previous, http).await {
            tracing::warn!("the previous sign-in could not be revoked; you can end it on the page of connected agents");
        }
    }
    Ok((credentials, stored_in))
}

/// Revokes the sign-in at `url`, and deletes it.
pub async fn logout(url: &PublicUrl, http: &HttpClient, store: &Store) -> Result<Logout, StoreError> {
    let lock = store.lock(url).await?;
    let Some(credentials) = store.load(url).await? else { return Ok(Logout::NotSignedIn) };
    let revoked = revoked(&credentials, http).await;
    store.delete(url, &lock).await?;
    Ok(if revoked { Logout::Revoked } else { Logout::DeletedOnly })
}

/// Whether the tokens of a sign-in are revoked, or none are left.
async fn revoked(credentials: &Credentials, http: &HttpClient) -> bool {
    let Some(tokens) = &credentials.tokens else { return true };
    let Some(endpoint) = &credentials.revocation_endpoint else { return false };
    let token = tokens.refresh_token.as_deref().unwrap_or(&tokens.access_token);
    token::revoke(http, endpoint, &credentials.client, token).await.is_ok()
}

/// The client of the choice, which is registered if necessary.
async fn client(choice: ClientChoice, http: &HttpClient, revocation: Option<&Url>) -> Result<StoredClient, LoginError> {
    let registration = match choice {
        ClientChoice::Known(client) => return Ok(client),
        ClientChoice::Registered(client, registration) => {
            if is_known(&client, http, revocation).await {
                return Ok(client);
            }
            registration
        }
        ClientChoice::Register(registration) => registration,
    };
    register(http, &registration).await.map_err(LoginError::Registration)
}

/// Whether the server still knows a client that registered itself: registrations end. The response to the revocation of
/// a token that is not valid tells (RFC 7009 §2.2), without effect.
async fn is_known(client: &StoredClient, http: &HttpClient, revocation: Option<&Url>) -> bool {
    match revocation {
        Some(url) => token::revoke(http, url.as_str(), client, NO_TOKEN).await.is_ok(),
        None => false,
    }
}

async fn register(http: &HttpClient, url: &Url) -> Result<StoredClient, RegistrationError> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
        error_description: Option<String>,
    }
    let answer = http.send(http.post(url.as_str()).json(&RegistrationRequest::NEW)).await?;
    match answer.object_of_any_status::<Refusal>() {
        Ok(Refusal { error, error_description }) if !answer.status().is_success() => {
            let text = error_description.map_or_else(|| error.clone(), |text| format!("{text} ({error})"));
            Err(RegistrationError::Refused(callback::printable(&text)))
        }
        _ => Ok(answer.object::<RegistrationResponse>()?.into()),
    }
}
