#!/usr/bin/env bash
# Builds portcullis and portcullis-agent, each as one static file, which runs in an image with neither shell nor C library,
# and prints their paths in this order, one a line.
# Usage: static.sh [PROFILE [dev]]. The default is what ships (image) where CI=true, and else what is built fast (pods).
# With `dev`: portcullis alone, with `portcullis dev`, as people run it on their machines. It replaces the other portcullis.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
profile=${1:-$([ "${CI:-}" = true ] && echo image || echo pods)}
triple=$(rustc --print host-tuple 2>/dev/null || rustc -vV | sed -n 's/^host: //p')
# What cargo tells tests would have some dependencies built anew, and everything after them.
unset "${!CARGO_PKG_@}" "${!CARGO_MANIFEST_@}" "${!CARGO_CRATE_@}" "${!CARGO_BIN_@}"
# With --target, the flag holds for what is built to run there only, and all of it lands in a folder of its own: the
# usual build is not disturbed. At a fixed address the program has nothing to relocate: a position-independent one writes
# to all of its tables in every process, and each workspace has two. Stack, heap and kernel pages stay random.
flags="'-C', 'target-feature=+crt-static', '-C', 'relocation-model=static'"
# Functions of the same machine code are there once, where the linker is LLVM's, as rustc's own is.
[ "$triple" != x86_64-unknown-linux-gnu ] || flags="$flags, '-C', 'link-arg=-Wl,--icf=all'"
# Panics name the files of dependencies; the same names on every machine, and short ones.
for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
  flags="$flags, '--remap-path-prefix=$sources='"
done
build() {
  cargo build --locked --profile "$profile" --target "$triple" --config "target.$triple.rustflags=[$flags]" "$@" >&2
}
if [ "${2:-}" = dev ]; then
  programs=(portcullis)
  build --package portcullis --bin portcullis --features quiet
else
  # Without `portcullis dev`: what it alone needs would be a tenth of the image.
  # Apart from each other, since together each would have what dependencies do for the other.
  programs=(portcullis portcullis-agent)
  build --package portcullis --bin portcullis --no-default-features --features quiet
  build --package portcullis-agent --bin portcullis-agent --features quiet
fi
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
folder=$profile
[ "$profile" != dev ] || folder=debug
for binary in "${programs[@]/#/$target/$triple/$folder/}"; do
  if readelf --program-headers "$binary" | grep -q INTERP; then
    echo "$binary wants a dynamic linker" >&2
    exit 1
  fi
  echo "$binary"
done
