//! One watch, which notices within seconds that its connection is dead.
//!
//! The API server is asked to end each watch after [`WATCH_SECONDS`], and the next one goes on from where the last one
//! ended. A watch that neither ends nor says anything until five seconds later is given up, whatever is in the way: a
//! node that died, a load balancer that forgot the connection. So memory is at most that much older than the cluster,
//! without a second source of truth.

use super::super::health::Health;
use crate::chain::chain;
use futures::StreamExt as _;
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

/// Watches the objects with these labels for ever, and hands on what happens to them.
pub async fn follow<K>(
    api: Api<K>,
    labels: &str,
    health: &Health,
    told: &mut impl AsyncFnMut(Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().labels(labels).timeout(WATCH_SECONDS);
    let mut events = watcher(api, config).backoff(Retry::default()).boxed();
    let mut listed = false;
    let mut failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let done = matches!(event, Event::InitDone);
                told(event).await;
                if done && !std::mem::replace(&mut listed, true) {
                    health.listed();
                }
                if std::mem::take(&mut failing) {
                    tracing::info!(kind = %K::kind(&()), "the API server is followed again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let (kind, error) = (K::kind(&()), chain(&error));
                    tracing::warn!(%kind, error, "the API server cannot be followed; what is known stays in force");
                }
            }
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
