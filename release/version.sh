#!/usr/bin/env bash
# Prints the version of this checkout. Fails if the crates, the chart and, when it is given, the tag name different
# versions, or if a tagged version has no section in CHANGELOG.md. Usage: version.sh [TAG], such as v0.2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
fail() { echo "$1" >&2; exit 1; }

for field in version appVersion; do
  grep -qx "$field: $version" charts/portcullis/Chart.yaml ||
    fail "charts/portcullis/Chart.yaml: set $field to $version, the version of Cargo.toml"
done
if [ $# -gt 0 ]; then
  [ "$1" = "v$version" ] || fail "the tag $1 is not v$version: change the tag, or the version in Cargo.toml and Chart.yaml"
  grep -q "^## $version " CHANGELOG.md ||
    fail "CHANGELOG.md has no section for $version: rename \"Unreleased\" to \"$version – YYYY-MM-DD\""
fi
echo "$version"
