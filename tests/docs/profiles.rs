//! The build profiles in Cargo.toml.

use crate::read;
use std::collections::BTreeSet;

/// The packages that have a level of their own in a profile.
fn packages<'a>(manifest: &'a str, profile: &str) -> BTreeSet<&'a str> {
    let start = format!("[profile.{profile}.package.");
    manifest.lines().filter_map(|line| line.strip_prefix(&*start)?.strip_suffix(']')).collect()
}

/// The profile `image` inherits the levels of packages in `release`, where some are not optimized.
#[test]
fn every_package_of_what_ships_is_optimized() {
    let manifest = read("Cargo.toml");
    let (release, image) = (packages(&manifest, "release"), packages(&manifest, "image"));
    let missing: Vec<_> = release.difference(&image).collect();
    assert!(!release.is_empty() && missing.is_empty(), "without a level in the profile image: {missing:?}");
}
