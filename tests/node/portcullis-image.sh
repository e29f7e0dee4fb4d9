#!/usr/bin/env bash
# Writes the image local/portcullis:test, which has nothing but the static binary. Usage: portcullis-image.sh OUTPUT.tar
# PORTCULLIS_PROFILE: the profile to build it in; see static.sh for what it is otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(bash "$here/static.sh" ${PORTCULLIS_PROFILE:+"$PORTCULLIS_PROFILE"})
layer=$(mktemp)
trap 'rm -f "$layer"' EXIT
tar --create --file "$layer" --owner 0 --group 0 --mtime @0 --directory "${binary%/*}" portcullis
bash "$here/image.sh" "$1" local/portcullis:test "$layer" '{"Entrypoint":["/portcullis"],"User":"65532:65532"}'
