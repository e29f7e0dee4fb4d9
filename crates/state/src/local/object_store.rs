//! A store for the objects of one kind, like a minimal API server: by name, with a new version for each write.

use crate::local::folder::Folder;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt as _};
use portcullis_api::version::resource_version;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, io, path::Path};

/// The objects.
pub(super) struct ObjectStore<K> {
    objects: BTreeMap<String, K>,
    folder: Option<Folder>,
    last_version: u64,
}

/// The result of an insertion.
pub(super) enum Put<K> {
    /// The stored object.
    Done(K),
    /// An object with the same name exists.
    Exists,
}

impl<K> Default for ObjectStore<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), folder: None, last_version: 0 }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned> ObjectStore<K> {
    /// Opens a folder, and reads its objects.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (folder, objects) = Folder::open::<K>(path)?;
        // A copy under another name is not another object.
        let objects: BTreeMap<String, K> =
            objects.into_iter().filter(|(name, object)| *name == object.name_any()).collect();
        let last_version =
            objects.values().filter_map(|object| resource_version(object).ok()).max().unwrap_or_default();
        Ok(Self { objects, folder: Some(folder), last_version })
    }

    /// Whether writes go to a disk.
    pub(super) fn on_disk(&self) -> bool {
        self.folder.is_some()
    }

    /// Every object.
    pub(super) fn all(&self) -> impl Iterator<Item = &K> {
        self.objects.values()
    }

    /// The object of this name.
    pub(super) fn get(&self, name: &str) -> Option<&K> {
        self.objects.get(name)
    }

    /// The names of the objects that meet the condition.
    pub(super) fn names(&self, condition: impl Fn(&K) -> bool) -> Vec<String> {
        self.objects.iter().filter(|(_, object)| condition(object)).map(|(name, _)| name.clone()).collect()
    }

    /// Inserts an object.
    pub(super) fn add(&mut self, mut object: K, now: Timestamp) -> io::Result<Put<K>> {
        if self.objects.contains_key(&object.name_any()) {
            return Ok(Put::Exists);
        }
        object.meta_mut().creation_timestamp = Some(Time(now));
        self.replace(object).map(Put::Done)
    }

    /// Replaces an object.
    pub(super) fn replace(&mut self, mut object: K) -> io::Result<K> {
        let name = object.name_any();
        self.last_version += 1;
        object.meta_mut().resource_version = Some(self.last_version.to_string());
        if let Some(folder) = &self.folder {
            folder.write(&name, &object)?;
        }
        self.objects.insert(name, object.clone());
        Ok(object)
    }

    /// Deletes an object.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        if let Some(folder) = &self.folder {
            folder.remove(name)?;
        }
        self.objects.remove(name);
        Ok(())
    }

    /// Removes the objects whose files were deleted.
    pub(super) fn forget_deleted(&mut self) -> Vec<String> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let deleted: Vec<String> = self.objects.keys().filter(|name| !folder.has(name)).cloned().collect();
        for name in &deleted {
            self.objects.remove(name);
        }
        deleted
    }
}
