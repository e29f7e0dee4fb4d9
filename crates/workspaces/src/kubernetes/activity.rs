//! The last activity in workspaces: updated in memory when work begins, while it runs and when it ends, and written to
//! `status.lastActivity` at most once a minute for each workspace.

use crate::kubernetes::{catalog::Catalog, entry::WorkspaceEntry};
use jiff::SignedDuration;
use portcullis_core::clock::Clock;
use portcullis_reflector::{Lookup, WriteBehind};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The precision of the last activity: the minimum interval between writes for a workspace, by any server.
const STEP: SignedDuration = SignedDuration::from_mins(1);
/// How often running work updates the time.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Tracks and writes the last activity.
pub(super) struct Activity {
    catalog: Arc<Catalog>,
    times: WriteBehind,
    /// The number of work requests in flight, by workspace id.
    working: Mutex<HashMap<String, usize>>,
    clock: Arc<dyn Clock>,
}

impl Activity {
    pub(super) fn new(catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Self {
        let times = WriteBehind::new("the last activities in workspaces");
        Self { catalog, times, working: Mutex::default(), clock }
    }

    /// Writes timestamps until the future is dropped.
    pub(super) async fn run(&self) {
        let look = async {
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                let ids: Vec<String> = self.working().keys().cloned().collect();
                for id in ids {
                    self.note(&id);
                }
            }
        };
        tokio::select! {
            () = look => {}
            () = self.times.save(&*self.catalog) => {}
        }
    }

    /// Writes the remaining timestamps before the server shuts down.
    pub(super) async fn save_at_the_end(&self) {
        self.times.save_at_the_end(&*self.catalog).await;
    }

    fn note(&self, id: &str) {
        let Lookup::Present(entry) = self.catalog.workspaces.find(id) else { return };
        let now = self.clock.now();
        if entry.view.last_activity.is_some_and(|last| now.duration_since(last) < STEP) {
            return;
        }
        self.catalog.workspaces.update_local(id, |entry: &WorkspaceEntry| entry.worked_in(now));
        self.times.note(id, now);
    }

    fn working(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks work in a workspace until this value is dropped.
pub(super) struct Working {
    activity: Arc<Activity>,
    id: String,
}

impl Working {
    pub(super) fn begin(activity: &Arc<Activity>, id: &str) -> Self {
        *activity.working().entry(id.to_owned()).or_default() += 1;
        activity.note(id);
        Self { activity: Arc::clone(activity), id: id.to_owned() }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut working = self.activity.working();
        if let Some(count) = working.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                working.remove(&self.id);
            }
        }
        drop(working);
        self.activity.note(&self.id);
    }
}
