//! Pods, by the projected tokens of their service accounts: verified with the keys that the API server publishes.
//!
//! Not by a TokenReview, which would need a right in the whole cluster: the keys every service account may read
//! (ClusterRole `system:service-account-issuer-discovery`). The price: a token counts until it expires, also where its
//! pod or service account was deleted before. So only tokens count that were made for a day at most; pods' own live an
//! hour unless their manifest says otherwise.

use async_trait::async_trait;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use portcullis_core::json::ByName;
use portcullis_oauth::{
    foreign::{Refusal, Signed},
    issuer_keys::{IssuerKeys, KeySource, Published},
    workload::{Workload, WorkloadError, WorkloadTokens},
};
use serde::Deserialize;
use serde_json::Value;
use std::{error::Error, fmt};

/// The longest life of a token that counts.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Not the `jwks_uri` of the discovery: that may be an address for the world outside.
const KEYS: &str = "/openid/v1/jwks";

/// The service accounts of the cluster.
#[derive(Debug)]
pub struct ServiceAccounts {
    keys: IssuerKeys,
}

impl ServiceAccounts {
    /// Of the cluster that `client` speaks to. Asks nothing yet.
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
    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>> {
        let ByName(Discovery { issuer }) = self.0.request(Request::get(DISCOVERY).body(Vec::new())?).await?;
        let ByName(KeySet { keys }) = self.0.request(Request::get(KEYS).body(Vec::new())?).await?;
        Ok(Published { issuer, keys })
    }
}

#[async_trait]
impl WorkloadTokens for ServiceAccounts {
    async fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Workload, WorkloadError> {
        let signed = Signed::read(token, &self.keys, now).await?;
        signed.is_for(audience).map_err(|_| WorkloadError::Audience(audience.to_owned()))?;
        Ok(workload(&signed)?)
    }
}

fn workload(signed: &Signed) -> Result<Workload, Refusal> {
    let (made, ends) = signed.time("iat").zip(signed.time("exp")).ok_or(Refusal::Claim("it has no iat"))?;
    if ends.duration_since(made) > LONGEST {
        return Err(Refusal::Claim("it lives longer than 24 hours; lower expirationSeconds of the projected token"));
    }
    let no_account = Refusal::Claim("it is not the token of a service account");
    let text =
        |path: &str| signed.claim("kubernetes.io").and_then(|claims| claims.pointer(path)).and_then(Value::as_str);
    let Some((namespace, account)) = text("/namespace").zip(text("/serviceaccount/name")) else {
        return Err(no_account);
    };
    if signed.text("sub") != Some(&format!("system:serviceaccount:{namespace}:{account}")) {
        return Err(no_account);
    }
    Ok(Workload { namespace: namespace.to_owned(), service_account: account.to_owned() })
}
