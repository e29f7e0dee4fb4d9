#!/usr/bin/env bash
# Writes the image local/portcullis:test: what the last stage of the Dockerfile makes, without a container engine or a
# registry. Usage: portcullis-image.sh OUTPUT.tar
# PORTCULLIS_PROFILE: the profile to build it in; see static.sh for what it is otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(bash "$here/static.sh" ${PORTCULLIS_PROFILE:+"$PORTCULLIS_PROFILE"})

# Entry point, user and labels are the Dockerfile's; its arguments have their defaults.
stage=$(sed -e ':join' -e '/\\$/{N; s/\\\n *//; bjoin' -e '}' "$here/../../Dockerfile" | sed -n '/^FROM scratch$/,$p')
instruction() { sed -n "s/^$1 //p" <<<"$stage"; }
while IFS='=' read -r name value; do stage=${stage//"\$$name"/"$value"}; done < <(instruction ARG)
labels=$(instruction LABEL | sed -E 's/([^ =]+)=("[^"]*") ?/"\1":\2,/g; s/,$//')
configuration="{\"Entrypoint\":$(instruction ENTRYPOINT),\"User\":\"$(instruction USER)\",\"Labels\":{$labels}}"

layer=$(mktemp)
trap 'rm -f "$layer"' EXIT
tar --create --file "$layer" --owner 0 --group 0 --mode 0755 --mtime @0 --directory "${binary%/*}" portcullis
bash "$here/image.sh" "$1" local/portcullis:test "$layer" "$configuration"
