#!/usr/bin/env bash
# Builds crane, which pushes images, from a Go module at a pinned version, once, and prints its path.
# Cache: ${PORTCULLIS_CACHE:-~/.cache/portcullis}/release, outside the checkout. Needs Go.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../tests/support/once.sh
source "$here/../../tests/support/once.sh"

command -v go >/dev/null || { echo "building crane needs Go (https://go.dev/dl)" >&2; exit 1; }
only_one "$cache/release"
module=github.com/google/go-containerregistry
crane=$cache/release/crane-$(version_of "$here/crane" $module)/crane
go_build "$here/crane" "$crane" $module/cmd/crane -ldflags "-s -w"
echo "$crane"
