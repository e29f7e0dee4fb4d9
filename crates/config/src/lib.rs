//! The contract between the operator and its servers: the files that `serve` mounts.
//!
//! `plan` writes them to a ConfigMap and three Secrets, a kubelet (or `portcullis dev`) writes them to one folder, and
//! `server` reads them. They are in one projected volume, so that all four change together.

mod clients;
pub mod cors;
mod keys;
mod login;
pub mod memory;
mod server;
#[cfg(test)]
mod skew;

pub use clients::{ClientVerifier, Clients, OPERATOR_CLIENT_ID, SecretHash, SecretVerifier};
pub use keys::{KeyError, SealingKey, SigningKey, SigningKeys};
pub use login::{LoginSecret, LoginSecrets};
pub use server::{AccessRules, CorsRules, ServerConfig, ServerLimits, ToolRules, WorkspaceRules};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// [`ServerConfig`] as JSON, from the endpoint's ConfigMap.
pub const CONFIG_FILE: &str = "config.json";
/// [`Clients`] as JSON, from the Secret of the endpoint's verifiers.
pub const CLIENTS_FILE: &str = "clients.json";
/// [`SigningKeys`] as JSON, from the Secret of the endpoint's signing keys.
pub const KEYS_FILE: &str = "signing-keys.json";
/// [`LoginSecrets`] as JSON, from the Secret of the endpoint's logins.
pub const LOGIN_FILE: &str = "login.json";

/// The servers' certificate in PEM, from the Secret of `spec.tls`. It is not part of the [`Revision`], since it is
/// renewed separately.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The private key of the servers' certificate, in PEM.
pub const CERTIFICATE_KEY_FILE: &str = "tls.key";

/// The port of the public listener in a pod.
pub const PUBLIC_PORT: u16 = 8080;
/// The port of the private listener in a pod: health, readiness, metrics and the loaded revision.
pub const PRIVATE_PORT: u16 = 9090;

/// The lame-duck period in seconds: a terminating server accepts connections until every proxy knows that it stops.
pub const LAME_DUCK_SECONDS: u64 = 10;

/// A short hash of the four files: equal hashes mean equal bytes.
///
/// The operator computes it from the files that it wrote, a server from those that it loaded. The condition
/// `CredentialsLoaded` compares the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

impl Revision {
    /// The revision of the contents of the four files.
    #[must_use]
    pub fn of(config: &[u8], clients: &[u8], keys: &[u8], login: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for file in [config, clients, keys, login] {
            hash.update((file.len() as u64).to_be_bytes());
            hash.update(file);
        }
        Self(portcullis_core::hex(&hash.finalize()[..8]))
    }

    /// The hash as 16 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The report of a server on its private listener, at `/revision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedRevision {
    /// The revision that the server uses.
    pub revision: Revision,
    /// The server's version.
    pub version: String,
    /// Why newer files were refused and the last valid ones kept; never contains content of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Some networks of peers that recently sent forwarding headers without being trusted proxies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untrusted_forwarders: Vec<IpNet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_tells_where_a_byte_stands() {
        let base = Revision::of(b"ab", b"c", b"", b"");
        assert_eq!(base.as_str().len(), 16);
        assert_eq!(base, Revision::of(b"ab", b"c", b"", b""));
        assert_ne!(base, Revision::of(b"a", b"bc", b"", b""));
        assert_ne!(base, Revision::of(b"ab", b"", b"c", b""));
    }
}
