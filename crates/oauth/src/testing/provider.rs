//! An identity provider that returns the configured verdict, and records the tokens of its requests.

use crate::{ProviderToken, RecheckPolicy, Rechecked, Verdict};
use jiff::SignedDuration;
use portcullis_core::grant::LoginEvidence;
use std::sync::Mutex;
use tokio::sync::Semaphore;

pub(crate) const PROVIDER: &str = "https://idp.example.com";
pub(super) const POLICY: RecheckPolicy =
    RecheckPolicy { after: SignedDuration::from_hours(24), oldest: SignedDuration::from_hours(7 * 24) };

/// The provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub verdict: Mutex<Verdict>,
    /// Whether each answer contains a new token, as `TOKEN`, `TOKEN+`, `TOKEN++`.
    pub rotates: bool,
    /// The tokens of the requests.
    pub asked: Mutex<Vec<String>>,
    /// The number of answers before the provider stalls.
    pub answers: Semaphore,
}

impl Provider {
    pub(crate) fn that(verdict: Verdict) -> Self {
        let answers = Semaphore::new(1000);
        Self { verdict: Mutex::new(verdict), rotates: false, asked: Mutex::default(), answers }
    }

    pub(crate) fn that_allows() -> Self {
        Self::that(Verdict::Allowed(LoginEvidence { groups: vec!["staff".to_owned()], ..LoginEvidence::default() }))
    }

    pub(crate) fn says(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap() = verdict;
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) async fn answer(&self, token: &ProviderToken) -> Rechecked {
        self.asked.lock().unwrap().push(token.token.clone());
        self.answers.acquire().await.unwrap().forget();
        let next = self.rotates.then(|| ProviderToken { token: format!("{}+", token.token), ..token.clone() });
        Rechecked { verdict: self.verdict.lock().unwrap().clone(), token: next }
    }

    pub(crate) fn token(token: &str) -> ProviderToken {
        let (provider, client_id) = (PROVIDER.to_owned(), "us".to_owned());
        ProviderToken { provider, client_id, token: token.to_owned() }
    }
}
