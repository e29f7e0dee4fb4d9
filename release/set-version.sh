#!/usr/bin/env bash
# Writes a version wherever it is kept by hand: the crates, Cargo.lock and the chart. Then `make deploy` renders deploy/.
# Usage: set-version.sh VERSION, such as 0.2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ ${1:-} =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || { echo "usage: $0 VERSION, such as 0.2.0" >&2; exit 2; }
old=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
quoted=${old//./\\.}
sed -i "s/^version = \"$quoted\"/version = \"$1\"/" Cargo.toml
sed -i "/^name = \"portcullis/{n; s/^version = \"$quoted\"/version = \"$1\"/}" Cargo.lock
sed -i -E "s/^(version|appVersion): $quoted\$/\1: $1/" charts/portcullis/Chart.yaml
bash release/version.sh
