//! An endpoint as far as signing in goes: its logins, and the way there and back.

use jiff::Timestamp;
use portcullis_config::{LoginSecret, LoginSecrets, ServerConfig, SigningKeys};
use portcullis_core::{
    clock::{Clock, SystemClock},
    grant::GrantUser,
    rng,
};
use portcullis_identity::{Logins, Pending, SignInError};
use portcullis_outbound::Outbound;
use serde_json::{Value, json};
use std::{error::Error, sync::Arc};

pub const CALLBACK: &str = "http://127.0.0.1:9/login/sso/callback";

/// The configuration with these logins.
pub fn config(logins: &Value) -> ServerConfig {
    serde_json::from_value(json!({
        "endpoint": "agents", "url": "http://127.0.0.1:9/mcp", "login": logins,
        "accessTokenLifetime": "15m", "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
        "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20, "maxBodySize": "4Mi"},
        "access": {"allowedCidrs": [], "trustedProxies": []},
    }))
    .unwrap()
}

/// One login's secret.
pub fn secrets(name: &str, secret: LoginSecret) -> LoginSecrets {
    LoginSecrets { logins: [(name.to_owned(), secret)].into(), ..LoginSecrets::default() }
}

/// What this endpoint is at a provider.
pub fn client(client_id: &str, client_secret: &str) -> LoginSecret {
    LoginSecret::Client { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() }
}

pub fn logins(logins: &Value, secrets: &LoginSecrets) -> Logins {
    let outbound = Arc::new(Outbound::new().unwrap());
    Logins::new(&config(logins), secrets, &keys(), outbound, Arc::new(SystemClock)).unwrap()
}

/// The endpoint's keys.
pub fn keys() -> SigningKeys {
    SigningKeys::generate(now(), &mut rng::rng()).unwrap()
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Begins at the login, with a `state` as a page would seal it.
pub async fn begin(logins: &Logins, login: &str) -> Result<(String, Pending), SignInError> {
    let begun = logins.begin(login, CALLBACK, None, &mut rng::rng()).await?;
    let location = begun.with_state("sealed +&=state");
    // As it comes back from a sealed state.
    let pending = serde_json::from_str(&serde_json::to_string(&begun.pending).unwrap()).unwrap();
    Ok((location, pending))
}

pub async fn finish(logins: &Logins, pending: &Pending, query: &str) -> Result<GrantUser, SignInError> {
    logins.finish(pending, query, CALLBACK, now()).await.map(|signed_in| signed_in.user)
}

/// An error with everything that a log would show of it.
pub fn whole(error: &SignInError) -> String {
    format!("{error} {error:?} {:?}", error.source())
}
