//! The mounted files, which are read and validated as one set.
//!
//! A kubelet writes a projected volume to a new folder and swaps the symbolic link `..data` to it, so that all files
//! change at once. Reading through the target of the link never yields a half-changed set. A folder without `..data` is
//! read until two reads agree.

use crate::certificate::{CertificateError, CertificateFiles};
use portcullis_config::{
    CERTIFICATE_FILE, CERTIFICATE_KEY_FILE, CLIENTS_FILE, CONFIG_FILE, Clients, KEYS_FILE, KeyError, LOGIN_FILE,
    LoginSecrets, Revision, ServerConfig, ServerLimits, SigningKeys,
};
use portcullis_core::endpoint_paths::{WELL_KNOWN, is_reserved};
use portcullis_identity::LoginsError;
use portcullis_outbound::OutboundError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{io, path::Path, time::Duration};

/// The symbolic link that a kubelet swaps.
const DATA_LINK: &str = "..data";
/// The maximum number of reads of a changing folder, and the pause between two.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// The contents of the four files, and of the certificate's two files if they exist.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RawFiles {
    config: Vec<u8>,
    clients: Vec<u8>,
    keys: Vec<u8>,
    login: Vec<u8>,
    /// The certificate, which is not a part of the revision: it is renewed independently.
    pub certificate: CertificateFiles,
}

/// The four parsed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `config.json`.
    pub config: ServerConfig,
    /// `clients.json`.
    pub clients: Clients,
    /// `signing-keys.json`.
    pub keys: SigningKeys,
    /// `login.json`.
    pub login: LoginSecrets,
    /// The revision of all four files.
    pub revision: Revision,
}

/// Why the mounted files cannot be used. Never contains content of files from Secrets.
#[derive(Debug, thiserror::Error)]
pub enum MountedError {
    /// A file cannot be read.
    #[error("{file} cannot be read")]
    Read {
        /// The file's name.
        file: &'static str,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The folder changed during every read.
    #[error("the files changed during every read")]
    Restless,
    /// Invalid JSON or an unexpected structure. For Secrets, `problem` has only the position.
    #[error("{file} is malformed: {problem}; it may have been written by another version")]
    Malformed {
        /// The file's name.
        file: &'static str,
        /// The parse error.
        problem: String,
    },
    /// The keys cannot be used.
    #[error("signing-keys.json cannot be used")]
    Keys(#[from] KeyError),
    /// The client for the external authorization server cannot be built.
    #[error("config.json: externalIssuer cannot be used")]
    ExternalIssuer(#[source] OutboundError),
    /// The logins cannot be used.
    #[error("spec.login cannot be used")]
    Logins(#[from] LoginsError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file has a valid structure, but an invalid value.
    #[error("{0}")]
    Invalid(String),
}

impl RawFiles {
    /// Reads the folder until two reads agree.
    pub(crate) async fn read(folder: &Path) -> Result<Self, MountedError> {
        let mut before = Self::read_once(folder).await;
        for _ in 0..ATTEMPTS {
            tokio::time::sleep(if before.is_ok() { Duration::ZERO } else { PAUSE }).await;
            let after = Self::read_once(folder).await;
            match (before, after) {
                (Ok(before), Ok(after)) if before == after => return Ok(after),
                // A file that is missing twice is not about to be created.
                (Err(_), Err(error)) => return Err(error),
                (_, after) => before = after,
            }
        }
        Err(MountedError::Restless)
    }

    async fn read_once(folder: &Path) -> Result<Self, MountedError> {
        let linked = tokio::fs::canonicalize(folder.join(DATA_LINK)).await;
        let folder = linked.as_deref().unwrap_or(folder);
        let read =
            async |file| tokio::fs::read(folder.join(file)).await.map_err(|source| MountedError::Read { file, source });
        let find = async |file| match read(file).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(MountedError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Self {
            config: read(CONFIG_FILE).await?,
            clients: read(CLIENTS_FILE).await?,
            keys: read(KEYS_FILE).await?,
            login: read(LOGIN_FILE).await?,
            certificate: CertificateFiles {
                chain: find(CERTIFICATE_FILE).await?,
                key: find(CERTIFICATE_KEY_FILE).await?,
            },
        })
    }

    /// Parses and validates the files.
    pub(crate) fn parse(&self) -> Result<Mounted, MountedError> {
        let config: ServerConfig = serde_json::from_slice(&self.config)
            .map_err(|error| MountedError::Malformed { file: CONFIG_FILE, problem: error.to_string() })?;
        let clients: Clients = parse_secret(CLIENTS_FILE, &self.clients)?;
        let keys: SigningKeys = parse_secret(KEYS_FILE, &self.keys)?;
        let login: LoginSecrets = parse_secret(LOGIN_FILE, &self.login)?;
        check_config(&config)?;
        // Clients are found by binary search.
        if !clients.clients.is_sorted_by(|a, b| a.client_id < b.client_id) {
            return Err(invalid("clients.json must list its clients by client_id, each once"));
        }
        keys.validate()?;
        let mut kids: Vec<&str> = keys.keys.iter().map(|key| key.kid.as_str()).collect();
        kids.sort_unstable();
        if kids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(invalid("signing-keys.json has two keys with the same kid"));
        }
        let revision = Revision::of(&self.config, &self.clients, &self.keys, &self.login);
        Ok(Mounted { config, clients, keys, login, revision })
    }
}

fn parse_secret<T: DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<T, MountedError> {
    // serde's messages may quote the content.
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column());
        MountedError::Malformed { file, problem }
    })
}

fn check_config(config: &ServerConfig) -> Result<(), MountedError> {
    let lifetime = config.access_token_lifetime.as_duration().is_zero().then(|| "accessTokenLifetime".to_owned());
    if let Some(name) = lifetime.or_else(|| zero_limit(&config.limits)) {
        return Err(invalid(&format!("config.json: {name} must not be zero")));
    }
    let (path, base) = (config.url.path(), config.url.base_path());
    let own = path.strip_prefix(base).unwrap_or(path);
    if is_reserved(own) || path.strip_prefix(WELL_KNOWN).is_some_and(|rest| rest.starts_with('/')) {
        return Err(invalid(&format!(
            "config.json: the path {path} of the url is used by the authorization server; choose another, such as {base}/mcp"
        )));
    }
    Ok(())
}

/// The path of a limit that is zero.
fn zero_limit(limits: &ServerLimits) -> Option<String> {
    // Durations and sizes are serialized without leading zeros, so only zero begins with one.
    let is_zero = |value: &Value| value == 0 || value.as_str().is_some_and(|text| text.starts_with('0'));
    let fields = serde_json::to_value(limits).ok()?;
    let (name, _) = fields.as_object()?.iter().find(|(_, value)| is_zero(value))?;
    Some(format!("limits.{name}"))
}

fn invalid(message: &str) -> MountedError {
    MountedError::Invalid(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use portcullis_config::{SealingKey, SigningKey};
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::json;

    fn config() -> Value {
        json!({
            "endpoint": "agents", "url": "https://h/mcp", "accessTokenLifetime": "15m",
            "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
                "maxBodySize": "4Mi", "servers": 2},
            "access": {"allowedCidrs": [], "trustedProxies": []},
        })
    }

    fn keys(seeds: &[u64]) -> Value {
        let key = |seed: &u64| SigningKey::generate(Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(*seed)).unwrap();
        let sealing = vec![SealingKey::generate(Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(9))];
        serde_json::to_value(SigningKeys { keys: seeds.iter().map(key).collect(), sealing }).unwrap()
    }

    fn client(id: &str) -> Value {
        json!({"clientId": id, "displayName": id, "clientType": "Confidential", "grants": [], "scopes": [], "redirectUris": [], "secrets": []})
    }

    fn raw_files(config: &Value, clients: &Value, keys: &Value) -> RawFiles {
        let encode = |value: &Value| value.to_string().into_bytes();
        RawFiles {
            config: encode(config),
            clients: encode(clients),
            keys: encode(keys),
            login: encode(&json!({"logins": {}})),
            certificate: CertificateFiles::default(),
        }
    }

    #[test]
    fn wrong_files_are_refused_by_name_and_without_their_secrets() {
        let good_clients = json!({"clients": [client("a"), client("b")]});
        raw_files(&config(), &good_clients, &keys(&[1, 2])).parse().unwrap();

        let with = |pointer: &str, to: Value| {
            let mut config = config();
            *config.pointer_mut(pointer).unwrap() = to;
            config
        };
        for (config, clients, keys, expected) in [
            (with("/limits/burst", json!(0)), good_clients.clone(), keys(&[1]), "limits.burst"),
            (with("/url", json!("https://h/token")), good_clients.clone(), keys(&[1]), "/token"),
            (with("/url", json!("ftp://h/mcp")), good_clients.clone(), keys(&[1]), "config.json"),
            (with("/limits/servers", json!(0)), good_clients.clone(), keys(&[1]), "limits.servers"),
            (json!({}), good_clients.clone(), keys(&[1]), "config.json"),
            (config(), json!({"clients": [client("b"), client("a")]}), keys(&[1]), "clients.json"),
            (config(), json!({"clients": [client("a"), client("a")]}), keys(&[1]), "clients.json"),
            (config(), json!({"clients": "hush"}), keys(&[1]), "clients.json"),
            (config(), json!({"hush": []}), keys(&[1]), "clients.json"),
            (config(), good_clients.clone(), keys(&[]), "signing-keys.json"),
            (config(), good_clients.clone(), keys(&[1, 1]), "signing-keys.json"),
            (config(), good_clients.clone(), json!({"keys": "hush"}), "signing-keys.json"),
            (
                config(),
                good_clients.clone(),
                json!({"keys": [{"kid": "k", "createdAt": "2026-01-01T00:00:00Z", "pem": "hush"}]}),
                "signing-keys.json",
            ),
        ] {
            let error = raw_files(&config, &clients, &keys).parse().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}, not {expected}");
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }

    #[test]
    fn a_volume_that_changes_all_the_time_is_never_seen_half_changed() {
        use std::{
            fs,
            os::unix::fs::symlink,
            sync::atomic::{AtomicBool, Ordering},
        };

        let folder = tempfile::tempdir().unwrap();
        let lay_out = |generation: u32| {
            let fresh = folder.path().join(format!("..{generation}"));
            fs::create_dir(&fresh).unwrap();
            for file in [CONFIG_FILE, CLIENTS_FILE, KEYS_FILE, LOGIN_FILE] {
                fs::write(fresh.join(file), generation.to_string()).unwrap();
            }
            symlink(&fresh, folder.path().join("..data_tmp")).unwrap();
            fs::rename(folder.path().join("..data_tmp"), folder.path().join(DATA_LINK)).unwrap();
            if let Some(before) = generation.checked_sub(1) {
                fs::remove_dir_all(folder.path().join(format!("..{before}"))).unwrap();
            }
        };
        lay_out(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for generation in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    lay_out(generation);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let seen: Vec<_> = (0..100).filter_map(|_| runtime.block_on(RawFiles::read(folder.path())).ok()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(!seen.is_empty());
            assert!(seen.iter().all(|bytes| bytes.config == bytes.clients && bytes.config == bytes.keys));
        });
    }
}
