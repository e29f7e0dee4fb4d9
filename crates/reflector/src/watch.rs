//! One watch, which detects a dead connection within seconds.
//!
//! The API server is asked to end each watch after [`WATCH_SECONDS`], and the next watch continues where the last one
//! ended. A watch that has neither ended nor reported anything five seconds later is abandoned: the node may be dead,
//! or a load balancer may have dropped the connection. So memory lags behind the cluster by at most that time, without
//! a second source of truth.

use crate::Health;
use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use portcullis_api::version::{IncomparableVersion, resource_version};
use portcullis_core::report::chain;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, time::Duration};

const WATCH_SECONDS: u32 = 10;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A watch on objects of one kind.
pub struct Watch<K> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    failing: bool,
    listing: Listing,
    /// The first list had a version that cannot be compared: the server does not become ready.
    refused: bool,
}

/// The progress of the first list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Begun,
    Received,
    Applied,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static> Watch<K> {
    /// Watches the objects that `selection` selects.
    #[must_use]
    pub fn new(api: Api<K>, selection: watcher::Config) -> Self {
        let config = selection.timeout(WATCH_SECONDS);
        Self {
            events: watcher(api, config).backoff(Retry::default()).boxed(),
            failing: false,
            listing: Listing::Begun,
            refused: false,
        }
    }

    /// The next event. Waits for as long as the API server cannot be reached.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(kind = %K::kind(&()), "the watch of the API server is restored");
                    }
                    if self.listing == Listing::Begun && matches!(event, Event::InitDone) {
                        self.listing = Listing::Received;
                    }
                    return self.checked(event);
                }
                Some(Err(error)) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        let (kind, error) = (K::kind(&()), chain(&error));
                        tracing::warn!(%kind, error, "the API server cannot be watched; the last known state remains in use");
                    }
                }
                // The stream has no end.
                None => std::future::pending().await,
            }
        }
    }

    /// An object whose version cannot be compared is treated as deleted: with a made-up version, later events for it, such
    /// as a revocation, could be dropped as old.
    fn checked(&mut self, event: Event<K>) -> Event<K> {
        let (Event::Apply(object) | Event::InitApply(object)) = &event else { return event };
        let Err(error) = resource_version(object) else { return event };
        self.refuse(object, &error);
        match event {
            Event::Apply(object) | Event::InitApply(object) => Event::Delete(object),
            other => other,
        }
    }

    fn refuse(&mut self, object: &K, error: &IncomparableVersion) {
        let (kind, name) = (K::kind(&()), object.meta().name.as_deref().unwrap_or_default());
        if self.listing == Listing::Begun {
            self.refused = true;
            tracing::error!(%kind, name, %error, "the server does not become ready");
        } else {
            tracing::error!(%kind, name, %error, "the object is ignored");
        }
    }

    /// The event of [`Self::next`] is applied.
    pub fn applied(&mut self, health: &Health) {
        if self.listing == Listing::Received && !self.refused {
            self.listing = Listing::Applied;
            health.listed();
        }
    }
}

/// Exponential, with a low maximum: revocations are delayed by it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use portcullis_core::clock::SystemClock;
    use std::sync::Arc;

    fn config_map(name: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    async fn events_of(events: Vec<Event<ConfigMap>>) -> (Vec<String>, bool) {
        let (count, health) = (events.len(), Health::remote(1, Arc::new(SystemClock)));
        let events = stream::iter(events.into_iter().map(Ok)).boxed();
        let mut watch = Watch { events, failing: false, listing: Listing::Begun, refused: false };
        let mut events_of = Vec::new();
        for _ in 0..count {
            events_of.push(match watch.next().await {
                Event::Apply(object) | Event::InitApply(object) => format!("+{}", object.metadata.name.unwrap()),
                Event::Delete(object) => format!("-{}", object.metadata.name.unwrap()),
                Event::Init => "begin".to_owned(),
                Event::InitDone => "end".to_owned(),
            });
            watch.applied(&health);
        }
        (events_of, health.is_complete())
    }

    #[tokio::test]
    async fn a_server_does_not_start_with_versions_that_cannot_be_compared() {
        let list = |version| {
            vec![
                Event::Init,
                Event::InitApply(config_map("a", "7")),
                Event::InitApply(config_map("b", version)),
                Event::InitDone,
            ]
        };
        let expected = |b: &str| ["begin", "+a", b, "end"].map(str::to_owned).to_vec();
        assert_eq!(events_of(list("8")).await, (expected("+b"), true));
        for version in ["", "x8", "0", "9223372036854775807000"] {
            assert_eq!(events_of(list(version)).await, (expected("-b"), false), "{version}");
        }
    }

    #[tokio::test]
    async fn an_object_whose_version_cannot_be_compared_stops_counting() {
        let events =
            vec![Event::Init, Event::InitDone, Event::Apply(config_map("a", "7")), Event::Apply(config_map("a", "x8"))];
        let expected = ["begin", "end", "+a", "-a"].map(str::to_owned).to_vec();
        assert_eq!(events_of(events).await, (expected, true));
    }
}
