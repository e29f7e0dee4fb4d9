//! Pods, authenticated by the projected tokens of their service accounts. Verified with the keys that the API server
//! publishes.
//!
//! A TokenReview would need a cluster-wide permission, whereas every service account may read the keys (ClusterRole
//! `system:service-account-issuer-discovery`). The drawback: a token is valid until it expires, even if its pod or
//! service account was deleted before. For this reason, only tokens with a lifetime of at most a day are accepted; the
//! default for pods is an hour.

use async_trait::async_trait;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use portcullis_core::json::ByName;
use portcullis_oauth::{
    external_jwt::{Claims, IssuerKeys, JwtError, KeySource, Published},
    workload::{Workload, WorkloadError, WorkloadTokens},
};
use serde::Deserialize;
use serde_json::Value;
use std::{error::Error, fmt};

/// The longest accepted lifetime of a token.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Used instead of the `jwks_uri` of the discovery document, which may be an address for clients outside the cluster.
const KEYS: &str = "/openid/v1/jwks";

/// The service accounts of the cluster.
#[derive(Debug)]
pub struct ServiceAccounts {
    keys: IssuerKeys,
}

impl ServiceAccounts {
    /// The service accounts of the cluster of `client`. Sends no request.
    #[must_use]
    pub fn of(client: Client) -> Self {
        Self { keys: IssuerKeys::new(ApiServer(client)) }
    }
}

struct ApiServer(Client);

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiServer")
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[async_trait]
impl KeySource for ApiServer {
    fn name(&self) -> String {
        "the API server".to_owned()
    }

    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>> {
        let ByName(Discovery { issuer }) = self.0.request(Request::get(DISCOVERY).body(Vec::new())?).await?;
        let ByName(KeySet { keys }) = self.0.request(Request::get(KEYS).body(Vec::new())?).await?;
        Ok(Published { issuer, keys })
    }
}

#[async_trait]
impl WorkloadTokens for ServiceAccounts {
    async fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Workload, WorkloadError> {
        let verified = self.keys.verify(token, audience, now).await.map_err(|error| match error {
            JwtError::Audience => WorkloadError::Audience(audience.to_owned()),
            error => error.into(),
        })?;
        Ok(workload(&verified.claims)?)
    }
}

fn workload(claims: &Claims) -> Result<Workload, JwtError> {
    let (made, ends) = claims.time("iat").zip(claims.time("exp")).ok_or(JwtError::MissingClaim("iat"))?;
    if ends.duration_since(made) > LONGEST {
        return Err(JwtError::Claim("its lifetime exceeds 24 hours; lower expirationSeconds of the projected token"));
    }
    let no_account = JwtError::Claim("it is not the token of a service account");
    let text = |path: &str| claims.get("kubernetes.io").and_then(|claims| claims.pointer(path)).and_then(Value::as_str);
    let Some((namespace, account)) = text("/namespace").zip(text("/serviceaccount/name")) else {
        return Err(no_account);
    };
    if claims.text("sub") != Some(&format!("system:serviceaccount:{namespace}:{account}")) {
        return Err(no_account);
    }
    Ok(Workload { namespace: namespace.to_owned(), service_account: account.to_owned() })
}
