//! The grant type `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523): exchanges a pod's service account token for
//! an access token.

use crate::token::{Issue, TokenResponse};
use crate::{
    AuthorizationServer,
    error::OAuthError,
    jwt::Subject,
    parameters::Parameters,
    scopes,
    workload::{GRANT_TYPE, WorkloadError},
};
use jiff::Timestamp;
use portcullis_telemetry::audit::{Event, RequestContext};
use rand::CryptoRng;

impl AuthorizationServer {
    /// Handles one request. There is no client authentication: the assertion identifies the workload (RFC 7523 §3.1).
    pub(super) async fn exchange(
        &self,
        parameters: &Parameters<'_>,
        from: &RequestContext,
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
            Event::WorkloadRefused { from, client_id: None, reason: error.reason() }.emit();
        })?;
        let (id, allowed) = (workload.id(), workload.scopes(&self.workload_rules));
        if allowed.is_empty() {
            let error = WorkloadError::NoRule(workload.namespace, workload.service_account);
            Event::WorkloadRefused { from, client_id: Some(&id), reason: error.reason() }.emit();
            return Err(error.into());
        }
        let scopes = scopes::granted(parameters.get("scope"), &allowed)?;
        let subject = Subject { id: id.as_str().into(), ..Subject::client(&id, &scopes) };
        self.issue(Issue { grant_type: Some(GRANT_TYPE), from, now }, &subject, None, rng)
    }
}
