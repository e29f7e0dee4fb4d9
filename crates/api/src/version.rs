//! The `resourceVersion` of an object as a number.
//!
//! Servers and the operator drop news that is older than what they know. Kubernetes promises since 1.35 (KEP-5504) that
//! versions of one kind are decimal numbers that grow with every write; on etcd they always were.

use kube::Resource;

/// A version that cannot be compared with others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its resourceVersion {0:?} is not a decimal number, so versions cannot be compared; Portcullis needs an API \
     server with comparable resourceVersions (KEP-5504), as those of Kubernetes are"
)]
pub struct IncomparableVersion(pub String);

/// The version of an object.
pub fn resource_version<K: Resource>(object: &K) -> Result<u64, IncomparableVersion> {
    parse(object.meta().resource_version.as_deref().unwrap_or_default())
}

/// Digits without a leading zero, by the grammar of KEP-5504.
pub fn parse(text: &str) -> Result<u64, IncomparableVersion> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| IncomparableVersion(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decimal_numbers_are_versions() {
        for (text, version) in [("1", Some(1)), ("4711", Some(4711)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(parse(text).ok(), version, "{text}");
        }
        for text in ["", "0", "007", "+5", "-1", "1.5", "12a", " 1", "18446744073709551616", "a-b"] {
            assert_eq!(parse(text), Err(IncomparableVersion(text.to_owned())), "{text}");
        }
    }
}
