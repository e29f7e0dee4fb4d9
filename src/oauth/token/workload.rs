//! The grant `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523): a pod's service account token for an access token.

use super::{Issue, TokenResponse};
use crate::oauth::{
    AuthorizationServer,
    error::OAuthError,
    jwt::Subject,
    parameters::Parameters,
    scopes,
    workload::{GRANT_TYPE, WorkloadError},
};
use jiff::Timestamp;
use rand::CryptoRng;
use std::net::IpAddr;

impl AuthorizationServer {
    /// Nobody authenticates as a client: the assertion says who it is (RFC 7523 §3.1).
    pub(super) async fn exchange(
        &self,
        parameters: &Parameters<'_>,
        address: Option<IpAddr>,
        now: Timestamp,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        let assertion = parameters.get("assertion").ok_or(OAuthError::Missing("assertion"))?;
        if self.workload_rules.is_empty() {
            return Err(WorkloadError::NoRules.into());
        }
        if !parameters.are_for(&self.resources) {
            return Err(OAuthError::InvalidTarget(self.resource.clone()));
        }
        let verified = self.workloads.verify(assertion, &self.issuer, now).await;
        let workload = verified.inspect_err(|error| {
            let address = address.map(tracing::field::display);
            tracing::info!(target: "audit", event = "workload.refused", reason = %error, address, "an assertion was refused");
        })?;
        let (id, allowed) = (workload.id(), workload.scopes(&self.workload_rules));
        if allowed.is_empty() {
            let address = address.map(tracing::field::display);
            tracing::info!(target: "audit", event = "workload.refused", client_id = id, reason = "no rule", address, "an assertion was refused");
            return Err(WorkloadError::NoRule(workload.namespace, workload.service_account).into());
        }
        let scopes = scopes::granted(parameters.get("scope"), &allowed)?;
        let subject = Subject { id: id.as_str().into(), ..Subject::client(&id, &scopes) };
        self.issue(Issue { grant_type: Some(GRANT_TYPE), address, now }, &subject, None, rng)
    }
}
