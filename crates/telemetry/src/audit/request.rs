//! The request that caused an event: its id and the address of the client.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use rand::{Rng as _, rngs::StdRng};
use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// The maximum length of an id from a proxy, in bytes.
const MAX_LEN: usize = 64;

/// The id of one request. Stored inline, so that copies are cheap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; MAX_LEN],
    len: usize,
}

/// Request extension with the request's id and the address of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// The request's id.
    pub id: RequestId,
    /// The client's address; `None` if a trusted proxy names no valid address.
    pub address: Option<IpAddr>,
}

/// Generates the ids of requests.
pub struct RequestIds(Mutex<StdRng>);

impl RequestId {
    /// The header with the id, in requests from trusted proxies and in every response.
    pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// An id of 32 hexadecimal digits.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = Self { bytes: [0; MAX_LEN], len: 32 };
        for (index, byte) in id.bytes.iter_mut().take(32).enumerate() {
            let digit = (bits >> (124 - 4 * index)) & 0xf;
            *byte = DIGITS.get(digit as usize).copied().unwrap_or(b'0');
        }
        id
    }

    /// The id that a proxy chose: a single header of at most 64 of the characters `A-Z a-z 0-9 . _ -`. Anything else is
    /// ignored, since the id appears in logs, headers and pages.
    #[must_use]
    pub fn of_proxy(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(Self::HEADER).iter();
        let value = values.next()?.as_bytes();
        let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        if values.next().is_some() || value.is_empty() || !value.iter().all(is_safe) {
            return None;
        }
        let mut id = Self { bytes: [0; MAX_LEN], len: value.len() };
        id.bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(id)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The value of the response header.
    #[must_use]
    pub fn header_value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.as_str()).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RequestContext {
    /// The context of a request that did not come through the public listener.
    pub const UNKNOWN: Self = Self { id: RequestId { bytes: [0; MAX_LEN], len: 0 }, address: None };

    /// The context in a request's extensions; [`RequestContext::UNKNOWN`] if it is missing.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().copied().unwrap_or(Self::UNKNOWN)
    }
}

impl RequestIds {
    /// Generates ids from `rng`.
    #[must_use]
    pub fn new(rng: StdRng) -> Self {
        Self(Mutex::new(rng))
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        RequestId::from_bits(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn generated_ids_are_hexadecimal_and_differ() {
        assert_eq!(RequestId::from_bits(0xfe).as_str(), "000000000000000000000000000000fe");
        let ids = RequestIds::new(StdRng::seed_from_u64(1));
        let (one, other) = (ids.next(), ids.next());
        assert_ne!(one, other);
        assert!(one.as_str().len() == 32 && one.header_value().is_some());
    }

    #[test]
    fn an_id_of_a_proxy_is_short_and_safe_or_ignored() {
        let long = "a".repeat(65);
        for (values, taken) in [
            (&["0af7651916cd43dd8448eb211c80319c"][..], true),
            (&["9f2c4d1e-7a61-4a0e-b1f9-5c4b0e1f2a3b"], true),
            (&["Trace_1.2"], true),
            (&[&long[1..]], true),
            (&[], false),
            (&[""], false),
            (&[&long], false),
            (&["one", "two"], false),
            (&["a b"], false),
            (&["<script>"], false),
            (&["a\"b"], false),
            (&["a\tb"], false),
            (&["ä"], false),
        ] {
            let header = |value: &&str| (RequestId::HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let headers: HeaderMap = values.iter().map(header).collect();
            let id = RequestId::of_proxy(&headers);
            assert_eq!(id.as_ref().map(RequestId::as_str), taken.then(|| values[0]), "{values:?}");
        }
    }
}
