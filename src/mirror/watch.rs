//! One watch, which notices within seconds that its connection is dead.
//!
//! The API server is asked to end each watch after [`WATCH_SECONDS`], and the next one goes on from where the last one
//! ended. A watch that neither ends nor says anything until five seconds later is given up, whatever is in the way: a
//! node that died, a load balancer that forgot the connection. So memory is at most that much older than the cluster,
//! without a second source of truth.

use super::Health;
use crate::chain::chain;
use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, time::Duration};

const WATCH_SECONDS: u32 = 10;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Some objects of one kind, and what happens to them.
pub struct Watch<K> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    failing: bool,
    listing: Listing,
}

/// How far the first list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Begun,
    Told,
    TakenIn,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static> Watch<K> {
    /// Of those that `selection` selects.
    pub fn new(api: Api<K>, selection: watcher::Config) -> Self {
        let config = selection.timeout(WATCH_SECONDS);
        Self { events: watcher(api, config).backoff(Retry::default()).boxed(), failing: false, listing: Listing::Begun }
    }

    /// What happened next. Waits for ever where the API server cannot be reached for ever.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(kind = %K::kind(&()), "the API server is followed again");
                    }
                    if self.listing == Listing::Begun && matches!(event, Event::InitDone) {
                        self.listing = Listing::Told;
                    }
                    return event;
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        let (kind, error) = (K::kind(&()), chain(&error));
                        tracing::warn!(%kind, error, "the API server cannot be followed; what is known stays in force");
                    }
                }
                // The stream has no end.
                None => std::future::pending().await,
            }
        }
    }

    /// What [`Self::next`] told is known now.
    pub fn taken_in(&mut self, health: &Health) {
        if self.listing == Listing::Told {
            self.listing = Listing::TakenIn;
            health.listed();
        }
    }
}

/// Soon, then less so, never long: a revocation waits for it.
#[derive(Default)]
struct Retry(u32);

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = FIRST_RETRY.saturating_mul(1 << self.0.min(8)).min(LAST_RETRY);
        self.0 = self.0.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0 = 0;
    }
}
