//! Workload identity: a pod exchanges the token of its service account for an access token (RFC 7523 §2.1).
//!
//! Rules select service accounts by name. They are looked up on every request, so that removing a rule removes the
//! access. [`WorkloadTokens`] abstracts the verification of the tokens.

use crate::external_jwt::JwtError;
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_core::{Scope, authorization::WorkloadRule};
use std::{collections::BTreeSet, fmt::Debug};

/// The `grant_type` of the exchange.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const PREFIX: &str = "workload:";

/// A service account, which represents the pods that run as it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub service_account: String,
}

/// Why an assertion is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// There is no cluster to verify tokens with.
    #[error("workload identity needs a Kubernetes cluster; this server runs without one")]
    NoCluster,
    /// The endpoint has no rules.
    #[error("this endpoint does not accept tokens of service accounts; its manifest has no spec.workloadIdentity")]
    NoRules,
    /// The assertion is not a valid token of a service account.
    #[error("assertion: {0}")]
    Refused(#[from] JwtError),
    /// The assertion has another audience, such as the API server.
    #[error("assertion: it is not for this endpoint; project a service account token with the audience {0}")]
    Audience(String),
    /// No rule names the service account.
    #[error("no rule of spec.workloadIdentity names the service account {1} of the namespace {0}")]
    NoRule(String, String),
}

/// Verifies tokens of service accounts.
#[async_trait]
pub trait WorkloadTokens: Debug + Send + Sync {
    /// Verifies a token for `audience` at `now`, and returns its service account.
    async fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Workload, WorkloadError>;
}

impl WorkloadError {
    /// The error code at the token endpoint (RFC 6749 §5.2, RFC 7523 §3.1).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::NoRules => "unsupported_grant_type",
            Self::Refused(JwtError::Unavailable) => "temporarily_unavailable",
            Self::Refused(_) | Self::Audience(_) | Self::NoRule(..) => "invalid_grant",
        }
    }

    /// The reason as one word, for audit events.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoCluster => "no_cluster",
            Self::NoRules => "no_rules",
            Self::Refused(error) => error.reason(),
            Self::Audience(_) => "audience",
            Self::NoRule(..) => "no_rule",
        }
    }

    /// Whether the error is temporary: nothing is wrong with the assertion.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(JwtError::Unavailable))
    }
}

/// The verifier for a server without a cluster.
#[derive(Clone, Copy, Debug)]
pub struct NoCluster;

#[async_trait]
impl WorkloadTokens for NoCluster {
    async fn verify(&self, _: &str, _: &str, _: Timestamp) -> Result<Workload, WorkloadError> {
        Err(WorkloadError::NoCluster)
    }
}

impl Workload {
    /// The `client_id` and the `sub` of its tokens. No `OAuthClient` can have such a name.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{PREFIX}{}:{}", self.namespace, self.service_account)
    }

    /// The service account that a `client_id` names.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (namespace, account) = id.strip_prefix(PREFIX)?.split_once(':')?;
        Some(Self { namespace: namespace.to_owned(), service_account: account.to_owned() })
    }

    /// The scopes of all rules that select the service account. Empty if it has no access.
    #[must_use]
    pub fn scopes(&self, rules: &[WorkloadRule]) -> BTreeSet<Scope> {
        let names = |rule: &&WorkloadRule| {
            rule.namespaces.contains(&self.namespace)
                && rule.service_accounts.iter().any(|name| name == "*" || *name == self.service_account)
        };
        rules.iter().filter(names).flat_map(|rule| rule.scopes.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_service_accounts_and_add_up() {
        let rule = |name: &str, namespaces: &[&str], accounts: &[&str], scopes: &[Scope]| WorkloadRule {
            name: name.to_owned(),
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            service_accounts: accounts.iter().map(ToString::to_string).collect(),
            scopes: scopes.to_vec(),
        };
        let rules = [
            rule("ci", &["ci", "build"], &["runner"], &[Scope::FilesRead]),
            rule("all", &["build"], &["*"], &[Scope::WorkspacesRead]),
        ];
        for (id, expected) in [
            ("workload:ci:runner", vec![Scope::FilesRead]),
            ("workload:build:runner", vec![Scope::WorkspacesRead, Scope::FilesRead]),
            ("workload:build:default", vec![Scope::WorkspacesRead]),
            ("workload:ci:default", vec![]),
            ("workload:*:runner", vec![]),
            ("workload:ci:*", vec![]),
        ] {
            let workload = Workload::parse(id).unwrap();
            assert_eq!(workload.id(), id);
            assert_eq!(workload.scopes(&rules), expected.into_iter().collect(), "{id}");
        }
        for none in ["robot", "workload:", "workload:ci", "client:ci:runner"] {
            assert_eq!(Workload::parse(none), None, "{none}");
        }
    }
}
