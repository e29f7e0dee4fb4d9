#!/usr/bin/env bash
# Prints the section of CHANGELOG.md about a version, for its release page. Usage: notes.sh VERSION, or notes.sh Unreleased
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
notes=$(awk -v heading="## $1" '/^## /{within = $0 == heading || index($0, heading " ") == 1; next} within' CHANGELOG.md)
[ -n "$notes" ] || { echo "CHANGELOG.md has no section $1" >&2; exit 1; }
echo "$notes"
