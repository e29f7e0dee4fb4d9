//! Durations and sizes in the syntax of manifests: `15m`, `720h`, `4Mi`.

use crate::schema::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

/// A duration of whole units, largest first: `90s`, `15m`, `1h30m`. The units are `h`, `m` and `s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// The regular expression for durations in admission rules, which also require that the text is not empty.
    const PATTERN: &'static str = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$";

    /// The admission rule for a field with a span from `min` to `max`. Every such field has one.
    #[must_use]
    pub fn rule(min: &str, max: &str) -> Rule {
        let pattern = Self::PATTERN;
        Rule::new(
            format!(
                "self != '' && self.matches('{pattern}') && duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"
            ),
            format!(
                "must be a duration from {min} to {max}, in whole hours, minutes or seconds, such as 90s, 15m or 1h30m"
            ),
        )
    }

    /// A CEL expression that compares two spans of an object: `shorter` is at most, or less than, `longer`. It is true
    /// if a span violates its own rule, which reports the error itself.
    #[must_use]
    pub fn comparison(shorter: &str, comparison: &str, longer: &str, least: &str) -> String {
        let valid = |field: &str| format!("self.{field} != '' && self.{field}.matches('{}')", Self::PATTERN);
        format!(
            "!({} && {}) || duration(self.{longer}) < duration('{least}') || duration(self.{shorter}) {comparison} \
             duration(self.{longer})",
            valid(shorter),
            valid(longer)
        )
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span as a [`Duration`].
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

/// The text is not a valid [`Span`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a valid duration; write whole hours, minutes or seconds, such as 90s, 15m or 1h30m")]
pub struct InvalidSpan(String);

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.to_owned());
        let mut rest = text;
        let mut seconds = 0_u64;
        for (unit, worth) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((digits, after)) = rest.split_once(unit) {
                let count: u64 = digits.parse().map_err(|_| invalid())?;
                seconds = count.checked_mul(worth).and_then(|more| seconds.checked_add(more)).ok_or_else(invalid)?;
                rest = after;
            }
        }
        if text.is_empty() || !rest.is_empty() {
            return Err(invalid());
        }
        Ok(Self::from_secs(seconds))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        for (count, unit) in [(hours, 'h'), (minutes, 'm'), (seconds, 's')] {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        if total == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 24})
    }
}

/// A number of bytes: `65536`, `512Ki`, `4Mi`, `1Gi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The regular expression for sizes in admission rules.
    const PATTERN: &'static str = "^[1-9][0-9]{0,9}(Ki|Mi|Gi)?$";

    /// A size of `count` mebibytes.
    #[must_use]
    pub const fn from_mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The text is not a valid [`ByteSize`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a valid size; write a positive number of bytes with Ki, Mi or Gi, such as 512Ki or 4Mi")]
pub struct InvalidByteSize(String);

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let units = [("Ki", 1_u64 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
        let (digits, worth) =
            units.into_iter().find_map(|(unit, worth)| Some((text.strip_suffix(unit)?, worth))).unwrap_or((text, 1));
        digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(worth))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| InvalidByteSize(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("Gi", 30), ("Mi", 20), ("Ki", 10)] {
            if self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 12,
            "x-kubernetes-validations": [{
                "rule": format!("self.matches('{}')", Self::PATTERN),
                "message": "must be a positive number of bytes with Ki, Mi or Gi, such as 512Ki or 4Mi",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print() {
        for (text, seconds, printed) in [
            ("90s", 90, "1m30s"),
            ("15m", 900, "15m"),
            ("720h", 2_592_000, "720h"),
            ("1h30m", 5400, "1h30m"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span, span.to_string().as_str()), (Span::from_secs(seconds), printed), "{text}");
        }
    }

    #[test]
    fn wrong_spans_are_refused() {
        for text in ["", "5", "m", "1m1h", "-5m", "5 m", "1.5h", "99999999999999999999h", "5ms"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("65537", 65_537), ("512Ki", 524_288), ("4Mi", 4_194_304), ("1Gi", 1_073_741_824)] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, text));
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for text in ["", "0", "-1", "4MB", "4.5Mi", "Mi", "99999999999Gi"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
