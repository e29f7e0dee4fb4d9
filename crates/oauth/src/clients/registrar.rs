//! Ids of registered clients, which carry a MAC, and keyed hashes of the networks that registrations come from.

use crate::mac::{Secret, hmac, of_each};
use portcullis_config::{KeyError, SigningKeys};
use portcullis_core::hex;
use rand::CryptoRng;
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;

/// The prefix of the ids of registered clients.
pub const ID_PREFIX: &str = "dyn-";
/// The number of random hexadecimal digits in an id, and the number of those of the MAC.
const HALF: usize = 16;

/// Issues ids, and hashes networks.
pub struct Registrar {
    /// The first key issues ids and hashes; all keys verify them.
    keys: Vec<Key>,
}

struct Key {
    id: Secret,
    network: Secret,
}

impl Registrar {
    /// Derives the keys from the sealing keys.
    pub fn new(keys: &SigningKeys) -> Result<Self, KeyError> {
        let derive = |bytes: &Secret| Key {
            id: hmac(bytes, &[b"portcullis registration id v1"]),
            network: hmac(bytes, &[b"portcullis registration network v1"]),
        };
        Ok(Self { keys: of_each(keys, derive)? })
    }

    /// A new id: 64 random bits and their MAC.
    #[must_use]
    pub fn new_id(&self, rng: &mut dyn CryptoRng) -> String {
        let mut bytes = [0_u8; HALF / 2];
        rng.fill_bytes(&mut bytes);
        let random = hex(&bytes);
        let mac = self.keys.first().map(|key| key.mac(&random)).unwrap_or_default();
        format!("{ID_PREFIX}{random}{mac}")
    }

    /// Whether an id has a valid MAC. Ids of older versions and of deleted keys have none: they are valid as long as
    /// their registration is in memory.
    #[must_use]
    pub fn made(&self, id: &str) -> bool {
        let Some((random, mac)) = id.strip_prefix(ID_PREFIX).and_then(|digits| digits.split_at_checked(HALF)) else {
            return false;
        };
        random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && self.keys.iter().any(|key| bool::from(key.mac(random).as_bytes().ct_eq(mac.as_bytes())))
    }

    /// The hashes of a network (an IPv4 address or an IPv6 /64), one per key. The first is the one to store; the others
    /// match hashes that were stored before the keys were rotated.
    #[must_use]
    pub fn sources(&self, network: IpAddr) -> Vec<String> {
        let bytes = match network {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        self.keys.iter().map(|key| hex(&hmac(&key.network, &[&bytes])[..16])).collect()
    }
}

impl Key {
    fn mac(&self, random: &str) -> String {
        hex(&hmac(&self.id, &[random.as_bytes()])[..HALF / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::keys;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    fn registrar(sealing: &[u64]) -> Registrar {
        Registrar::new(&keys(sealing)).unwrap()
    }

    #[test]
    fn ids_are_told_from_made_up_ones() {
        let ours = registrar(&[1]);
        let id = ours.new_id(&mut StdRng::seed_from_u64(1));
        assert_eq!(id.len(), 36);
        assert!(ours.made(&id) && registrar(&[2, 1]).made(&id), "also after a rotation");
        assert!(!registrar(&[2]).made(&id));
        for index in 4..id.len() {
            let mut changed = id.clone().into_bytes();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            assert!(!ours.made(&String::from_utf8(changed).unwrap()), "{index}");
        }
        for text in ["", "dyn-", "agent", &id[..35], &format!("{id}0"), &id.to_uppercase(), &id.replace("dyn-", "")] {
            assert!(!ours.made(text), "{text}");
        }
    }

    #[test]
    fn networks_are_recognized_and_not_shown() {
        let (before, after) = (registrar(&[1]), registrar(&[2, 1]));
        let [one, other]: [IpAddr; 2] = ["198.51.100.7", "2001:db8::"].map(|text| text.parse().unwrap());
        let kept = before.sources(one).remove(0);
        assert_eq!(kept.len(), 32);
        assert!(after.sources(one).contains(&kept) && !after.sources(other).contains(&kept));
        assert_ne!(after.sources(one)[0], kept);
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_an_id(text in "\\PC{0,60}|dyn-[0-9a-f]{32}") {
            prop_assert!(!registrar(&[1]).made(&text));
        }
    }
}
