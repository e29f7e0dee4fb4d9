#!/usr/bin/env bash
# Prints the Chromium that the tests drive: PORTCULLIS_CHROMIUM, or one that is on the PATH, or Debian's headless shell,
# which is unpacked once, with the libraries that the machine lacks, into ${PORTCULLIS_CACHE:-~/.cache/portcullis}/browser.
# No root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -n "${PORTCULLIS_CHROMIUM:-}" ]; then
  echo "$PORTCULLIS_CHROMIUM"
  exit
fi
command -v chromium-headless-shell chromium google-chrome | head -n 1 | grep . && exit

# shellcheck source=../support/once.sh
source "$here/../support/once.sh"
release=$(debian_release) || { echo "the tests need Chromium: install it, or name it in PORTCULLIS_CHROMIUM" >&2; exit 1; }
out=$cache/browser/$release
only_one "$out"
if ! "$out/chromium" --version >/dev/null 2>&1; then
  echo "unpacking Debian's Chromium (once; kept in $out)" >&2
  unpack_debian "$out" chromium-headless-shell
  debian_command "$out" usr/lib/chromium/chromium-headless-shell "$out/chromium"
  "$out/chromium" --version >&2
fi
echo "$out/chromium"
