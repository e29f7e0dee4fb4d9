//! Authorization codes (RFC 6749 §4.1.2): sealed, not stored. What makes them single-use is the grant, whose name
//! derives from the code, and of which there can be one only.

use super::seal::{Purpose, SealError, Sealer};
use crate::{
    api::{
        Scope,
        grant::{GrantUser, LoginEvidence},
    },
    config::hex,
};
use jiff::{SignedDuration, Timestamp};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt};

/// How long a client has to redeem one.
pub const LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// What a user consented to, as a code carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// For whom the code is made.
    pub client_id: String,
    /// Where it is sent.
    pub redirect_uri: String,
    /// What its verifier is held against (RFC 7636).
    pub challenge: String,
    /// Who consented.
    pub user: GrantUser,
    /// Why the user was let in.
    #[serde(default)]
    pub evidence: Option<LoginEvidence>,
    /// To what.
    pub scopes: BTreeSet<Scope>,
    /// For which resource (RFC 8707).
    pub resource: String,
}

/// A code, unsealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// 128 random bits.
    id: String,
    /// What it stands for.
    #[serde(flatten)]
    pub consent: Consent,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("grant", &self.grant_name()).finish_non_exhaustive()
    }
}

impl Code {
    /// A new code, sealed.
    pub fn seal(
        consent: Consent,
        sealer: &Sealer,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, SealError> {
        let mut id = [0_u8; 16];
        rng.fill_bytes(&mut id);
        let code = Self { id: hex(&id), consent };
        sealer.seal(Purpose::Code, &code, now.saturating_add(LIFETIME).map_err(|_| SealError::Expired)?, rng)
    }

    /// Reads one that is presented.
    pub fn open(text: &str, sealer: &Sealer, now: Timestamp) -> Result<Self, SealError> {
        sealer.open(Purpose::Code, text, now)
    }

    /// The name of the grant that redeeming it makes: the same each time, and nothing that the code could be told from.
    #[must_use]
    pub fn grant_name(&self) -> String {
        format!("g-{}", &hex(&Sha256::digest(self.id.as_bytes()))[..24])
    }
}
