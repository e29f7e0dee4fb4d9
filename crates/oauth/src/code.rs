//! Authorization codes (RFC 6749 §4.1.2): sealed, not stored. The grant makes a code single-use: its name is derived
//! from the consent page that the user answered, and names are unique. So however often a page is submitted, and at
//! however many servers, it leads to one grant.

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

/// How long a code is valid.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_secs(60);

/// Identifies one rendering of the consent page. All codes from one page lead to the same grant. A user whose browser
/// lost the response can submit the page again: until one of its codes is redeemed, each submission returns a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsentTicket(String);

impl ConsentTicket {
    /// A new ticket with 128 random bits.
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut id = [0_u8; 16];
        rng.fill_bytes(&mut id);
        Self(hex(&id))
    }

    /// The name of the grant that redeeming a code of this page creates. The ticket cannot be derived from the name.
    #[must_use]
    pub fn grant_name(&self) -> String {
        format!("g-{}", &hex(&Sha256::digest(self.0.as_bytes()))[..24])
    }
}

/// A user's consent, as a code contains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consent {
    /// The client that the code is issued to.
    pub client_id: String,
    /// The redirect URI that the code is sent to.
    pub redirect_uri: String,
    /// The PKCE code challenge (RFC 7636).
    pub challenge: String,
    /// The user who consented.
    pub user: GrantUser,
    /// When the user signed in.
    #[serde(default = "Consent::signed_in_at_unknown")]
    pub signed_in_at: Timestamp,
    /// The evidence of the sign-in.
    #[serde(default)]
    pub evidence: Option<LoginEvidence>,
    /// The approved scopes.
    pub scopes: BTreeSet<Scope>,
    /// The resource of the tokens (RFC 8707).
    pub resource: String,
}

impl Consent {
    /// The default for codes of an older server, so that any `notBefore` ends their grants.
    const fn signed_in_at_unknown() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// An opened code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    /// The consent page of the code.
    id: ConsentTicket,
    /// The consent.
    #[serde(flatten)]
    pub consent: Consent,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("grant", &self.grant_name()).finish_non_exhaustive()
    }
}

impl Code {
    /// Seals a new code.
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

    /// Opens a presented code.
    pub(crate) fn open(text: &str, sealer: &Sealer, now: Timestamp) -> Result<Self, SealError> {
        sealer.open(Purpose::Code, text, now)
    }

    /// The name of the grant that redeeming the code creates: the same each time.
    #[must_use]
    pub(crate) fn grant_name(&self) -> String {
        self.id.grant_name()
    }
}
