//! Leader election by a Lease: of several replicas, one reconciles.
//!
//! A leader that cannot renew its Lease stops before the Lease ends: each request for it may take only a part of the
//! grace period, and the first failed one ends the term.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError, LeaseParams};
use portcullis_core::report::chain;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::{service_fn, timeout::Timeout};

const LEASE: &str = "portcullis-operator";
/// The Lease is renewed this part of its duration before its end: with 15 s, after 10 s.
const GRACE_SHARE: u64 = 3;
const RETRY: Duration = Duration::from_secs(1);

/// The settings of the election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// This replica's name in the Lease.
    pub identity: String,
    /// How long the Lease of a leader that died lasts, in seconds: at least 3.
    pub lease_seconds: u64,
}

/// Why a replica cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// The duration is too short.
    #[error("a lease of {0} s cannot be renewed in time; use at least {GRACE_SHARE} s")]
    TooShort(u64),
}

impl Election {
    fn params(&self) -> Result<LeaseParams, ElectionError> {
        if self.lease_seconds < GRACE_SHARE {
            return Err(ElectionError::TooShort(self.lease_seconds));
        }
        Ok(LeaseParams::new(&self.identity, self.lease_seconds, self.grace_seconds()))
    }

    fn grace_seconds(&self) -> u64 {
        self.lease_seconds / GRACE_SHARE
    }

    /// Calls `term` whenever this replica leads, with a token that is cancelled when it no longer does. Completes after
    /// `shutdown`, with the Lease given back.
    pub async fn run<Term: Future<Output = ()>>(
        &self,
        client: &Client,
        shutdown: &CancellationToken,
        mut taking_part: impl FnMut(),
        term: impl Fn(CancellationToken) -> Term,
    ) -> Result<(), ElectionError> {
        let params = self.params()?;
        // Two requests of this length fit into the grace period.
        let timeout = Duration::from_millis(self.grace_seconds() * 1000 / 2);
        let inner = client.clone();
        let service = service_fn(move |request| {
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        let client = Client::new(Timeout::new(service, timeout), self.namespace.clone());

        loop {
            // A new manager for every term: after a failed renewal, a manager reports itself as the leader until its Lease ends.
            let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
                .with_namespace(&self.namespace)
                .with_parameters(params.clone());
            let candidate = async {
                let manager = manager.build().await?;
                taking_part();
                while !manager.changed().await? {}
                Ok(manager)
            };
            let manager = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                manager = candidate => match manager {
                    Ok(manager) => manager,
                    Err(error) => {
                        log(&error, "the Lease cannot be read or taken; retrying");
                        tokio::select! {
                            () = shutdown.cancelled() => return Ok(()),
                            () = tokio::time::sleep(RETRY) => continue,
                        }
                    }
                }
            };
            tracing::info!(identity = self.identity, "leading");
            self.lead(&manager, shutdown, &term).await;
            if shutdown.is_cancelled() {
                if let Err(error) = manager.release().await {
                    log(&error, "the Lease could not be released; another replica takes over when it expires");
                }
                return Ok(());
            }
        }
    }

    async fn lead<Term: Future<Output = ()>>(
        &self,
        manager: &LeaseManager,
        shutdown: &CancellationToken,
        term: &impl Fn(CancellationToken) -> Term,
    ) {
        let end = shutdown.child_token();
        let mut work = Box::pin(term(end.clone()));
        tokio::select! {
            () = &mut work => return,
            () = shutdown.cancelled() => {}
            lost = manager.changed() => match lost {
                Ok(_) => tracing::warn!("another replica took the Lease"),
                Err(error) => log(&error, "the Lease cannot be renewed; no longer leading"),
            },
        }
        // Running reconciles may finish while this replica certainly holds the Lease.
        end.cancel();
        let rest = Duration::from_secs(self.grace_seconds()) / 2;
        if tokio::time::timeout(rest, work).await.is_err() {
            tracing::warn!("reconciles were aborted");
        }
    }
}

fn log(error: &LeaseManagerError, message: &'static str) {
    tracing::warn!(error = chain(error), "{message}");
}
