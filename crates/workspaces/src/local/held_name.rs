//! The name of a workspace that is being created, which no other workspace of its owner may take.

use crate::{
    Error,
    local::{LocalWorkspace, WorkspaceMap},
};
use std::sync::Arc;

/// Reserves the name of a new workspace, and releases it unless the workspace is created.
pub(super) struct HeldName {
    entries: WorkspaceMap,
    id: Option<String>,
}

impl HeldName {
    pub(super) fn of(entries: &WorkspaceMap, entry: &Arc<LocalWorkspace>, limit: u32) -> Result<Self, Error> {
        let mut all = entries.lock();
        let owned: Vec<_> = all.values().filter(|other| other.owner.id == entry.owner.id).collect();
        if owned.iter().any(|other| other.name == entry.name) {
            return Err(Error::NameTaken { name: entry.name.clone() });
        }
        let count = u32::try_from(owned.len()).unwrap_or(u32::MAX);
        if count >= limit {
            return Err(Error::QuotaExceeded { count, limit });
        }
        all.insert(entry.id.clone(), Arc::clone(entry));
        Ok(Self { entries: entries.clone(), id: Some(entry.id.clone()) })
    }

    pub(super) fn keep(&mut self) {
        self.id = None;
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.entries.lock().remove(&id);
        }
    }
}
