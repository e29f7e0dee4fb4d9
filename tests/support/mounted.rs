//! Mounted files, laid out and replaced as a kubelet does it: a folder of its own for each set, and the link `..data`
//! swapped by a rename.

use portcullis_config::{
    CERTIFICATE_FILE, CERTIFICATE_KEY_FILE, CLIENTS_FILE, CONFIG_FILE, Clients, KEYS_FILE, LOGIN_FILE, LoginSecrets,
    Revision, ServerConfig, SigningKeys,
};
use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// One set of files, as bytes, so that a test can also damage them.
#[derive(Clone)]
pub struct Files {
    pub config: Vec<u8>,
    pub clients: Vec<u8>,
    pub keys: Vec<u8>,
    pub login: Vec<u8>,
    /// The certificate and its key, in PEM.
    pub certificate: Option<(String, String)>,
}

impl Files {
    pub fn new(config: &ServerConfig, clients: &Clients, keys: &SigningKeys) -> Self {
        Self {
            config: serde_json::to_vec_pretty(config).unwrap(),
            clients: serde_json::to_vec_pretty(clients).unwrap(),
            keys: serde_json::to_vec_pretty(keys).unwrap(),
            login: serde_json::to_vec_pretty(&LoginSecrets::default()).unwrap(),
            certificate: None,
        }
    }

    pub fn revision(&self) -> Revision {
        Revision::of(&self.config, &self.clients, &self.keys, &self.login)
    }

    pub fn write(&self, folder: &Path) {
        for (name, bytes) in [
            (CONFIG_FILE, &self.config),
            (CLIENTS_FILE, &self.clients),
            (KEYS_FILE, &self.keys),
            (LOGIN_FILE, &self.login),
        ] {
            fs::write(folder.join(name), bytes).unwrap();
        }
        if let Some((chain, key)) = &self.certificate {
            fs::write(folder.join(CERTIFICATE_FILE), chain).unwrap();
            fs::write(folder.join(CERTIFICATE_KEY_FILE), key).unwrap();
        }
    }
}

pub struct Volume {
    folder: TempDir,
    count: Cell<u32>,
}

impl Volume {
    pub fn new(files: &Files) -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap(), count: Cell::new(0) };
        volume.replace(files);
        for name in [CONFIG_FILE, CLIENTS_FILE, KEYS_FILE, LOGIN_FILE] {
            symlink(Path::new("..data").join(name), volume.path().join(name)).unwrap();
        }
        volume
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn replace(&self, files: &Files) {
        self.count.set(self.count.get() + 1);
        let fresh = format!("..{}_{}", files.revision(), self.count.get());
        fs::create_dir(self.path().join(&fresh)).unwrap();
        files.write(&self.path().join(&fresh));
        let before = fs::read_link(self.path().join("..data"));
        symlink(&fresh, self.path().join("..data_tmp")).unwrap();
        fs::rename(self.path().join("..data_tmp"), self.path().join("..data")).unwrap();
        if let Ok(before) = before {
            fs::remove_dir_all(self.path().join(before)).unwrap();
        }
    }
}
