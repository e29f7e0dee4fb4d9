//! Authorization codes (RFC 6749 §4.1.2): sealed, not stored. The grant makes them single-use: its name derives from the
//! consent page that the user answered, and there can be only one grant of a name. So however often one page is submitted,
//! and at however many servers, one grant comes of it.

use crate::seal::{Purpose, SealError, Sealer};
use jiff::{SignedDuration, Timestamp};
use portcullis_core::{
    Scope,
    grant::{GrantUser, LoginEvidence},
    hex,
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt};

/// How long a client has to redeem one.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// Identifies one rendering of the consent page. All codes from one page lead to the same grant. A user whose browser lost the
/// response can submit the page again: until one of its codes is redeemed, each submission returns a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsentTicket(String);

impl ConsentTicket {
    /// A new one: 128 random bits.
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut id = [0_u8; 16];
        rng.fill_bytes(&mut id);
        Self(hex(&id))
    }

    /// The name of the grant that redeeming a code of this page creates. The ticket cannot be derived from it.
    #[must_use]
    pub fn grant_name(&self) -> String {
        format!("g-{}", &hex(&Sha256::digest(self.0.as_bytes()))[..24])
    }
}

/// What a user consented to, as a code carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consent {
    /// For whom the code is made.
    pub client_id: String,
    /// Where it is sent.
    pub redirect_uri: String,
    /// What its verifier is held against (RFC 7636).
    pub challenge: String,
    /// Who consented.
    pub user: GrantUser,
    /// When that user signed in.
    #[serde(default = "Consent::signed_in_at_unknown")]
    pub signed_in_at: Timestamp,
    /// Why the user was let in.
    #[serde(default)]
    pub evidence: Option<LoginEvidence>,
    /// To what.
    pub scopes: BTreeSet<Scope>,
    /// For which resource (RFC 8707).
    pub resource: String,
}

impl Consent {
    /// Of a code that an older server made: any `notBefore` ends it.
    const fn signed_in_at_unknown() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A code, unsealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    /// Where the user consented.
    id: ConsentTicket,
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
    pub(crate) fn seal(
        ticket: ConsentTicket,
        consent: Consent,
        sealer: &Sealer,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, SealError> {
        let code = Self { id: ticket, consent };
        sealer.seal(Purpose::Code, &code, now.saturating_add(LIFETIME).map_err(|_| SealError::Expired)?, rng)
    }

    /// Reads one that is presented.
    pub(crate) fn open(text: &str, sealer: &Sealer, now: Timestamp) -> Result<Self, SealError> {
        sealer.open(Purpose::Code, text, now)
    }

    /// The name of the grant that redeeming it creates: the same each time.
    #[must_use]
    pub(crate) fn grant_name(&self) -> String {
        self.id.grant_name()
    }
}
