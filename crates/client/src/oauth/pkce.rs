//! The secrets of one authorization request: the PKCE verifier and its challenge (RFC 7636, S256), and `state`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

/// The random values of one authorization request.
pub(super) struct RequestSecrets {
    /// The PKCE verifier. Only the token endpoint gets it.
    pub verifier: String,
    /// The `state` parameter, by which a callback is recognized.
    pub state: String,
}

impl RequestSecrets {
    pub(super) fn new(rng: &mut (dyn CryptoRng + Send)) -> Self {
        let mut random = || {
            let mut bytes = [0_u8; 32];
            rng.fill_bytes(&mut bytes);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        Self { verifier: random(), state: random() }
    }

    /// The S256 challenge of the verifier (RFC 7636 §4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let secrets = RequestSecrets { verifier, state: String::new() };
        assert_eq!(secrets.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_request_has_secrets_of_its_own() {
        let mut rng = StdRng::seed_from_u64(7);
        let (one, other) = (RequestSecrets::new(&mut rng), RequestSecrets::new(&mut rng));
        let mut all = [one.verifier, one.state, other.verifier, other.state];
        assert!(all.iter().all(|secret| secret.len() == 43), "{all:?}");
        all.sort();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
