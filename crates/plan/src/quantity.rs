//! Canonicalizes quantities as the API server does, so that a desired object can be compared with a live one.
//!
//! The rules are those of `resource.Quantity.CanonicalizeBytes` in k8s.io/apimachinery: no fraction, the largest suffix
//! that leaves a whole number, and binary suffixes only from 1024 on.

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use std::collections::BTreeMap;

/// The same requirements, with every quantity in its canonical form.
pub(super) fn canonical_requirements(given: &ResourceRequirements) -> ResourceRequirements {
    let canonical_list = |list: &BTreeMap<String, Quantity>| {
        list.iter().map(|(name, quantity)| (name.clone(), Quantity(canonical(&quantity.0)))).collect()
    };
    ResourceRequirements {
        requests: given.requests.as_ref().map(canonical_list),
        limits: given.limits.as_ref().map(canonical_list),
        claims: given.claims.clone(),
    }
}

/// The canonical form. Invalid text is returned unchanged: the API server will report the error.
pub(super) fn canonical(text: &str) -> String {
    parse(text.trim()).map_or_else(|| text.to_owned(), |(nanos, format)| print(nanos, format))
}

/// The value as a whole number, rounded down, such as a number of bytes; `None` if it is invalid or negative.
pub(super) fn whole(text: &str) -> Option<u64> {
    let (nanos, _) = parse(text.trim())?;
    u64::try_from(nanos / NANO).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `1500m`, `2`, `3G`.
    Decimal,
    /// `2e3`.
    Exponent,
    /// `512Mi`.
    Binary,
}

const NANO: i128 = 1_000_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The value in billionths, which is the precision of Kubernetes (finer values are rounded up), and its format.
fn parse(text: &str) -> Option<(i128, Format)> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if text.is_empty() {
        return None;
    }
    // The API server reads a missing number as 0.
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let decimals = i32::try_from(fraction.len()).ok()?;

    let (multiplier, exponent, format) = if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (1, *exponent, Format::Decimal)
    } else if let Some(power) = BINARY.iter().position(|name| *name == suffix) {
        (1024_i128.checked_pow(u32::try_from(power).ok()?)?, 0, Format::Binary)
    } else {
        (1, suffix.strip_prefix(['e', 'E'])?.parse().ok()?, Format::Exponent)
    };

    let scale = exponent.checked_add(9)?.checked_sub(decimals)?;
    let amount = digits.checked_mul(multiplier)?;
    let power = 10_i128.checked_pow(scale.unsigned_abs())?;
    let nanos = if scale >= 0 {
        amount.checked_mul(power)?
    } else {
        amount.div_euclid(power) + i128::from(amount % power != 0)
    };
    Some((if negative { -nanos } else { nanos }, format))
}

fn print(nanos: i128, format: Format) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    if format == Format::Binary && nanos % NANO == 0 && nanos.abs() >= 1024 * NANO {
        let (count, power) = largest_unit(nanos / NANO, 1024, BINARY.len() - 1);
        return format!("{count}{}", BINARY[power]);
    }
    let (count, power) = largest_unit(nanos, 1000, DECIMAL.len() - 1);
    match (format, DECIMAL[power]) {
        (Format::Exponent, (_, 0)) => count.to_string(),
        (Format::Exponent, (_, exponent)) => format!("{count}e{exponent}"),
        (_, (suffix, _)) => format!("{count}{suffix}"),
    }
}

/// Divides by `unit` while there is no remainder, at most `most` times.
fn largest_unit(mut count: i128, unit: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && count % unit == 0 {
        count /= unit;
        power += 1;
    }
    (count, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The canonical forms by `resource.Quantity` of apimachinery 0.35, for both columns. It keeps `+5`, `5.`, `1E3`
    /// and `100e0` as written; it also keeps our forms of them.
    #[test]
    fn quantities_are_spelled_as_the_api_server_does() {
        for (given, stored) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("2", "2"),
            ("2.0", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("+5", "5"),
            ("-5", "-5"),
            ("0", "0"),
            ("0Mi", "0"),
            ("Mi", "0"),
            (".", "0"),
            (" 5", "5"),
            ("0.0", "0"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("0.1Mi", "104857600m"),
            ("1024", "1024"),
            ("1000", "1k"),
            ("128000000", "128M"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("1E3", "1e3"),
            ("100e0", "100"),
            ("1.5e3", "1500"),
            ("0.0000000001", "1n"),
            ("100u", "100u"),
            ("2Ei", "2Ei"),
            ("1.5E", "1500P"),
            ("1e-3", "1e-3"),
            ("2e2", "200"),
            ("1048576Ki", "1Gi"),
            ("0.3Ki", "307200m"),
            ("-0.0000000001", "-1n"),
        ] {
            assert_eq!(canonical(given), stored, "{given}");
            assert_eq!(canonical(stored), stored, "{stored}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_left_as_it_is() {
        for text in ["", "lots", "1.2.3", "1Kb", "1e", "--1", "9999999999999999999999999999999999999999"] {
            assert_eq!(canonical(text), text);
        }
    }
}
