//! Encrypted values that round-trip through the client, or are stored, and that only this endpoint can create and read:
//! authorization codes, sessions, forms, provider tokens.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) with keys that all servers of the endpoint share. The purpose is
//! authenticated too, so that a value that is sealed for one purpose cannot be used for another.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use jiff::Timestamp;
use portcullis_config::{KeyError, SigningKeys};
use rand::CryptoRng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const NONCE: usize = 24;
/// The maximum length of a sealed text, in bytes.
const MAX_SEALED: usize = 16 << 10;

/// The purpose of a sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An authorization code.
    Code,
    /// The session cookie of a browser.
    Session,
    /// An authorization request, in the consent form.
    Consent,
    /// The page to continue at after the sign-in.
    Continue,
    /// The `state` of a sign-in at a provider.
    Login,
    /// The CSRF token of a form, which shows that the form was made for this browser.
    Form,
    /// A token of an identity provider, in the account of a user.
    ProviderToken,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Code => b"portcullis code v1",
            Self::Session => b"portcullis session v1",
            Self::Consent => b"portcullis consent v1",
            Self::Continue => b"portcullis continue v1",
            Self::Login => b"portcullis login v1",
            Self::Form => b"portcullis form v1",
            Self::ProviderToken => b"portcullis provider token v1",
        }
    }

    /// The associated data of the AEAD: the purpose and the owner.
    fn bound_to(self, owner: &[&str]) -> Vec<u8> {
        let mut bound = self.label().to_vec();
        for part in owner {
            bound.extend((part.len() as u64).to_be_bytes());
            bound.extend(part.as_bytes());
        }
        bound
    }
}

/// Why a sealed value cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The value was not sealed here, or not for this purpose or owner, or is damaged.
    #[error("it was not made by this endpoint")]
    Invalid,
    /// The value has expired.
    #[error("it has expired")]
    Expired,
}

/// Seals and opens values.
pub struct Sealer {
    keys: Vec<XChaCha20Poly1305>,
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// The Unix time, in seconds, from which the value is no longer valid.
    e: i64,
    c: T,
}

impl Sealer {
    /// A sealer with these keys: the first one seals, all of them open.
    pub fn new(keys: &SigningKeys) -> Result<Self, KeyError> {
        let keys: Vec<_> = keys
            .sealing
            .iter()
            .map(|key| Ok(XChaCha20Poly1305::new(&key.bytes()?.into())))
            .collect::<Result<_, KeyError>>()?;
        if keys.is_empty() { Err(KeyError::MissingSealing) } else { Ok(Self { keys }) }
    }

    /// Seals `content` for `purpose` until `expires_at`, as base64url.
    pub fn seal<T: Serialize>(
        &self,
        purpose: Purpose,
        content: &T,
        expires_at: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, SealError> {
        self.seal_for(purpose, &[], content, expires_at, rng)
    }

    /// Like [`Self::seal`], but for an owner: the value opens for no other owner.
    pub fn seal_for<T: Serialize>(
        &self,
        purpose: Purpose,
        owner: &[&str],
        content: &T,
        expires_at: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, SealError> {
        let mut nonce = [0_u8; NONCE];
        rng.fill_bytes(&mut nonce);
        let plain =
            serde_json::to_vec(&Sealed { e: expires_at.as_second(), c: content }).map_err(|_| SealError::Invalid)?;
        let key = self.keys.first().ok_or(SealError::Invalid)?;
        let payload = Payload { msg: &plain, aad: &purpose.bound_to(owner) };
        let boxed = key.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Invalid)?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &boxed].concat()))
    }

    /// Opens a value that was sealed for `purpose` and has not expired at `now`.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, text: &str, now: Timestamp) -> Result<T, SealError> {
        self.open_for(purpose, &[], text, now)
    }

    /// Like [`Self::open`], for a value that was sealed for this owner.
    pub fn open_for<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        owner: &[&str],
        text: &str,
        now: Timestamp,
    ) -> Result<T, SealError> {
        if text.len() > MAX_SEALED {
            return Err(SealError::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Invalid)?;
        let (nonce, boxed) = bytes.split_first_chunk::<NONCE>().ok_or(SealError::Invalid)?;
        let nonce = XNonce::from(*nonce);
        let aad = purpose.bound_to(owner);
        let open = |key: &XChaCha20Poly1305| key.decrypt(&nonce, Payload { msg: boxed, aad: &aad }).ok();
        let plain = self.keys.iter().find_map(open).ok_or(SealError::Invalid)?;
        let sealed: Sealed<T> = serde_json::from_slice(&plain).map_err(|_| SealError::Invalid)?;
        if now.as_second() >= sealed.e { Err(SealError::Expired) } else { Ok(sealed.c) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn keys(seed: u64) -> SigningKeys {
        SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(seed)).unwrap()
    }

    #[test]
    fn only_the_right_key_purpose_and_time_open() {
        let sealer = Sealer::new(&keys(1)).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let text = sealer.seal(Purpose::Code, &"hello", at(60), &mut rng).unwrap();
        let open = |sealer: &Sealer, purpose, text: &str, now| sealer.open::<String>(purpose, text, at(now));

        assert_eq!(open(&sealer, Purpose::Code, &text, 59), Ok("hello".to_owned()));
        assert_eq!(open(&sealer, Purpose::Code, &text, 60), Err(SealError::Expired));
        assert_eq!(open(&sealer, Purpose::Session, &text, 0), Err(SealError::Invalid));
        assert_eq!(open(&Sealer::new(&keys(2)).unwrap(), Purpose::Code, &text, 0), Err(SealError::Invalid));
        for broken in ["", "AAAA", "not base64!", &text[1..], &format!("{text}A")] {
            assert_eq!(open(&sealer, Purpose::Code, broken, 0), Err(SealError::Invalid), "{broken}");
        }
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(open(&sealer, Purpose::Code, &changed, 0).is_err(), "{index}");
        }

        let again = sealer.seal(Purpose::Code, &"hello", at(60), &mut rng).unwrap();
        assert_ne!(text, again);
    }

    #[test]
    fn a_rotated_key_still_opens() {
        let (old, mut rotated) = (keys(1), keys(2));
        let sealed = Sealer::new(&old).unwrap().seal(Purpose::Code, &1, at(60), &mut StdRng::seed_from_u64(1)).unwrap();
        rotated.sealing.extend(old.sealing);
        assert_eq!(Sealer::new(&rotated).unwrap().open(Purpose::Code, &sealed, at(0)), Ok(1));
    }

    #[test]
    fn what_is_sealed_for_an_owner_opens_for_no_other() {
        let sealer = Sealer::new(&keys(1)).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let purpose = Purpose::ProviderToken;
        let text = sealer.seal_for(purpose, &["agents", "sso:ada"], &"token", Timestamp::MAX, &mut rng).unwrap();
        let open = |owner: &[&str]| sealer.open_for::<String>(purpose, owner, &text, at(1 << 37));
        assert_eq!(open(&["agents", "sso:ada"]), Ok("token".to_owned()));
        for other in [&[][..], &["agents"], &["agents", "sso:bob"], &["others", "sso:ada"], &["agentss", "so:ada"]] {
            assert_eq!(open(other), Err(SealError::Invalid), "{other:?}");
        }
        assert!(sealer.open::<String>(purpose, &text, at(0)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_that_was_not_sealed_here_opens(text in "[A-Za-z0-9_-]{0,120}|\\PC{0,60}") {
            let sealer = Sealer::new(&keys(1)).unwrap();
            for purpose in [Purpose::Code, Purpose::Session, Purpose::Form, Purpose::Consent, Purpose::Login] {
                prop_assert!(sealer.open::<serde_json::Value>(purpose, &text, at(0)).is_err());
            }
        }
    }
}
