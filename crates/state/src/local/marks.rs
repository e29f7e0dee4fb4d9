//! Marks of used credentials, by name, with their expiry.

use crate::local::folder::Folder;
use jiff::Timestamp;
use std::{collections::BTreeMap, io, path::Path};

/// The marks.
#[derive(Default)]
pub(super) struct Marks {
    until: BTreeMap<String, Timestamp>,
    folder: Option<Folder>,
}

impl Marks {
    /// Reads the marks in a folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (folder, marks) = Folder::open::<Timestamp>(path)?;
        Ok(Self { until: marks.into_iter().collect(), folder: Some(folder) })
    }

    /// Stores a mark. False if a mark with this name exists.
    pub(super) fn add(&mut self, name: &str, until: Timestamp, now: Timestamp) -> io::Result<bool> {
        self.collect(now)?;
        if self.until.contains_key(name) {
            return Ok(false);
        }
        if let Some(folder) = &self.folder {
            folder.write(name, &until)?;
        }
        self.until.insert(name.to_owned(), until);
        Ok(true)
    }

    fn collect(&mut self, now: Timestamp) -> io::Result<()> {
        let over: Vec<String> =
            self.until.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect();
        for name in over {
            if let Some(folder) = &self.folder {
                folder.remove(&name)?;
            }
            self.until.remove(&name);
        }
        Ok(())
    }
}
