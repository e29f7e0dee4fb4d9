#!/usr/bin/env bash
# Builds what a release has for this machine's system and architecture, and writes it to OUT/TARGET: see collect.sh. Linux
# programs are static. Runs on Linux and on macOS (whose bash is 3.2). Usage: programs.sh OUT
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
*-apple-darwin)
  cargo build --locked --profile image --package portcullis --bin portcullis --features quiet
  folder=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  bash release/collect.sh "$target" "$out" "$folder/image/portcullis"
  ;;
*)
  echo "there are no releases for $target; they are for Linux (gnu) and macOS" >&2
  exit 1
  ;;
esac
