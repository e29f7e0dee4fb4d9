//! Times that are noted in memory at every use, and written in the background: when a grant was last used, when a
//! workspace was last worked in.

use super::RequestError;
use crate::chain::chain;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Uses come in bursts.
const GATHER: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(30);
const AT_THE_END: Duration = Duration::from_secs(5);

/// Where times are kept.
pub trait Keeper {
    /// Writes one.
    fn write(&self, name: &str, at: Timestamp) -> impl Future<Output = Result<(), RequestError>> + Send;
}

/// What is to be written, by the object's name.
pub struct Times {
    /// For the log, such as `when grants were last used`.
    what: &'static str,
    unsaved: Mutex<BTreeMap<String, Timestamp>>,
    noted: Notify,
}

impl Times {
    /// Nothing yet.
    pub fn new(what: &'static str) -> Self {
        Self { what, unsaved: Mutex::default(), noted: Notify::new() }
    }

    /// To be written soon.
    pub fn note(&self, name: &str, at: Timestamp) {
        self.unsaved().insert(name.to_owned(), at);
        self.noted.notify_one();
    }

    /// Writes for ever what is noted.
    pub async fn save(&self, keeper: &impl Keeper) {
        loop {
            self.noted.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.save_noted(keeper).await {
                let (what, error) = (self.what, chain(&error));
                tracing::warn!(error, "{what} could not be written; it is retried");
                tokio::time::sleep(RETRY).await;
                self.noted.notify_one();
            }
        }
    }

    /// Writes what is noted, before the server ends.
    pub async fn save_at_the_end(&self, keeper: &impl Keeper) {
        if !matches!(tokio::time::timeout(AT_THE_END, self.save_noted(keeper)).await, Ok(Ok(()))) {
            tracing::warn!("{} could not be written for all", self.what);
        }
    }

    async fn save_noted(&self, keeper: &impl Keeper) -> Result<(), RequestError> {
        loop {
            // One by one, and taken out when written: whoever stops this loses nothing.
            let next = self.unsaved().iter().next().map(|(name, at)| (name.clone(), *at));
            let Some((name, at)) = next else { return Ok(()) };
            match keeper.write(&name, at).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
            let mut unsaved = self.unsaved();
            if unsaved.get(&name) == Some(&at) {
                unsaved.remove(&name);
            }
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
