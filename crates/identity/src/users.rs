//! The logins, as the trait [`Users`] of the authorization server.

use crate::Logins;
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_core::grant::LoginEvidence;
use portcullis_oauth::{ProviderToken, RecheckPolicy, Rechecked, UserStatus, Users};

#[async_trait]
impl Users for Logins {
    fn status_of(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> UserStatus {
        Self::status_of(self, user_id, evidence)
    }

    fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence> {
        Self::assumed_evidence(self, user_id)
    }

    fn recheck_policy(&self, user_id: &str) -> Option<RecheckPolicy> {
        Self::recheck_policy(self, user_id)
    }

    fn accepts(&self, user_id: &str, token: &ProviderToken) -> bool {
        Self::accepts(self, user_id, token)
    }

    async fn recheck(&self, user_id: &str, token: &ProviderToken, now: Timestamp) -> Rechecked {
        Self::recheck(self, user_id, token, now).await
    }
}
