#!/usr/bin/env bash
# Prints the Chromium that the tests drive: PORTCULLIS_CHROMIUM, or one that is on the PATH, or Debian's headless shell,
# which is unpacked once, with the libraries that the machine lacks, into ${PORTCULLIS_CACHE:-~/.cache/portcullis}/browser.
# No root. Debian keeps one version of Chromium per release, so the release is what is pinned.
set -euo pipefail
if [ -n "${PORTCULLIS_CHROMIUM:-}" ]; then
  echo "$PORTCULLIS_CHROMIUM"
  exit
fi
command -v chromium-headless-shell chromium google-chrome | head -n 1 | grep . && exit

# shellcheck source=/dev/null
release=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
command -v apt-get >/dev/null || { echo "the tests need Chromium: install it, or name it in PORTCULLIS_CHROMIUM" >&2; exit 1; }
out=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}/browser/$release
mkdir -p "$out"

# One installer at a time: tests of several processes may ask at once.
exec 9>"$out/lock"
flock 9
if ! "$out/chromium" --version >/dev/null 2>&1; then
  echo "unpacking Debian's Chromium (once; kept in $out)" >&2
  rm -rf "$out/root" "$out/apt"
  mkdir -p "$out/root" "$out/apt/lists/partial" "$out/apt/archives/partial" "$out/apt/debs"
  apt=(apt-get -q -o "Dir::State::lists=$out/apt/lists" -o "Dir::Cache=$out/apt" -o Debug::NoLocking=1 -o APT::Sandbox::User=)
  "${apt[@]}" update >&2
  # What an installation would add to this machine, and no more.
  mapfile -t packages < <("${apt[@]}" install --simulate --no-install-recommends chromium-headless-shell | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  (cd "$out/apt/debs" && "${apt[@]}" download "${packages[@]}" >&2)
  for package in "$out"/apt/debs/*.deb; do dpkg -x "$package" "$out/root"; done
  libraries=$(find "$out/root/usr/lib" -name '*.so*' -printf '%h\n' | grep -v /usr/lib/chromium | sort -u | paste -s -d :)
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$out/root/usr/lib/chromium/chromium-headless-shell" >"$out/chromium"
  chmod +x "$out/chromium"
  rm -rf "$out/apt"
  "$out/chromium" --version >&2
fi
echo "$out/chromium"
