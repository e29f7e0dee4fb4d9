#!/usr/bin/env bash
# Builds what a release has for this machine's system and architecture, and writes it to OUT/TARGET: see collect.sh. Linux
# programs are static. Runs on Linux. Usage: programs.sh OUT
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
out=$1
target=$(rustc -vV | sed -n 's/^host: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $target in
*-linux-gnu)
  bash tests/node/static.sh image >"$work/paths"
  while read -r program; do cp "$program" "$work"; done <"$work/paths"
  person=$(bash tests/node/static.sh image dev)
  bash release/collect.sh "$target" "$out" "$person" "$work/portcullis" "$work/portcullis-agent"
  ;;
*)
  echo "there are no releases for $target; they are for Linux (gnu)" >&2
  exit 1
  ;;
esac
