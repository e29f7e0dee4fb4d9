//! Proof Key for Code Exchange (RFC 7636), with the method S256 only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The only supported method.
pub(crate) const METHOD: &str = "S256";

/// Whether a text can be a challenge: a SHA-256 in base64url (§4.2).
#[must_use]
pub(crate) fn is_challenge(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether `challenge` was derived from `verifier` (§4.6).
#[must_use]
pub(crate) fn verifies(challenge: &str, verifier: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    let made = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    well_formed && bool::from(made.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_verifies_and_its_neighbours_do_not() {
        assert!(is_challenge(CHALLENGE) && verifies(CHALLENGE, VERIFIER));
        for wrong in ["", CHALLENGE, &VERIFIER[1..], &format!("{VERIFIER}="), &VERIFIER.to_lowercase()] {
            assert!(!verifies(CHALLENGE, wrong), "{wrong}");
        }
        // Accepted by the method `plain` only.
        assert!(!verifies(VERIFIER, VERIFIER));
        for wrong in ["", "abc", &CHALLENGE[1..], &format!("{CHALLENGE}="), &CHALLENGE.replace('-', "+")] {
            assert!(!is_challenge(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_verifier_of_the_wrong_length_or_alphabet_does_not_count() {
        let made = |verifier: &str| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        for (verifier, counts) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            (format!("{}+", "a".repeat(50)), false),
        ] {
            assert_eq!(verifies(&made(&verifier), &verifier), counts, "{verifier}");
        }
    }

    proptest! {
        #[test]
        fn only_the_own_verifier_counts(verifier in "[A-Za-z0-9._~-]{43,128}", other in "\\PC{0,130}") {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
            prop_assert!(is_challenge(&challenge) && verifies(&challenge, &verifier));
            prop_assert_eq!(verifies(&challenge, &other), other == verifier);
        }

        #[test]
        fn no_challenge_panics(text in "\\PC{0,60}", verifier in "\\PC{0,60}") {
            if is_challenge(&text) {
                prop_assert_eq!(text.len(), 43);
            }
            prop_assert!(!verifies(&text, &verifier) || (43..=128).contains(&verifier.len()));
        }
    }
}
