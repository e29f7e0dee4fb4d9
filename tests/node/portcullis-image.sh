#!/usr/bin/env bash
# Writes the image local/portcullis:test: what the last stage of the Dockerfile makes, without a container engine or a
# registry; or local/portcullis-agent:test, from the stage `agent`. Usage: portcullis-image.sh OUTPUT.tar [agent]
# PORTCULLIS_PROFILE: the profile to build it in; see static.sh for what it is otherwise.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=$(bash "$here/static.sh" ${PORTCULLIS_PROFILE:+"$PORTCULLIS_PROFILE"})
folder=$(head -n 1 <<<"$binaries")
folder=${folder%/*}

# Files, entry point, user and labels are the Dockerfile's; its arguments have their defaults.
name=portcullis begin='^FROM scratch$'
[ "${2:-}" != agent ] || name=portcullis-agent begin='^FROM scratch AS agent$'
stage=$(sed -e ':join' -e '/\\$/{N; s/\\\n *//; bjoin' -e '}' "$here/../../Dockerfile" |
  awk -v begin="$begin" '/^FROM /{within = $0 ~ begin} within')
instruction() { sed -n "s/^$1 //p" <<<"$stage"; }
while IFS='=' read -r variable value; do stage=${stage//"\$$variable"/"$value"}; done < <(instruction ARG)
labels=$(instruction LABEL | sed -E 's/([^ =]+)=("[^"]*") ?/"\1":\2,/g; s/,$//')
configuration="{\"Entrypoint\":$(instruction ENTRYPOINT),\"User\":\"$(instruction USER)\",\"Labels\":{$labels}}"
mapfile -t files < <(instruction COPY | sed 's|.* /||')

layer=$(mktemp)
trap 'rm -f "$layer"' EXIT
tar --create --file "$layer" --owner 0 --group 0 --mode 0755 --mtime @0 --directory "$folder" "${files[@]}"
bash "$here/image.sh" "$1" "local/$name:test" "$layer" "$configuration"
