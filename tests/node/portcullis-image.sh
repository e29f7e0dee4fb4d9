#!/usr/bin/env bash
# Writes the image local/portcullis:test: what the last stage of the Dockerfile makes, without a container engine or a
# registry; or local/portcullis-agent:test, from the stage `agent`. Usage: portcullis-image.sh OUTPUT.tar [agent]
# PORTCULLIS_PROFILE: the profile to build it in; see static.sh for what it is otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../release/dockerfile.sh
source "$here/../../release/dockerfile.sh"
binaries=$(bash "$here/static.sh" ${PORTCULLIS_PROFILE:+"$PORTCULLIS_PROFILE"})
folder=$(head -n 1 <<<"$binaries")
folder=${folder%/*}

# Files, entry point, user and labels are the Dockerfile's; its arguments have their defaults.
name=portcullis${2:+-$2}
read_stage "$name"

layer=$(mktemp)
trap 'rm -f "$layer"' EXIT
tar --create --file "$layer" --owner 0 --group 0 --mode 0755 --mtime @0 --directory "$folder" "${files[@]}"
bash "$here/image.sh" "$1" "local/$name:test" "$layer" "$configuration"
