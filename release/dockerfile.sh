# Sourced. Reads the final stages of the Dockerfile, so that images that are made without a container engine are the same.
# shellcheck shell=bash
# shellcheck disable=SC2034 # for those who source this

# Sets `configuration`, the image's configuration as JSON, and `files`, the names of its files, a layer each.
read_stage() { # portcullis or portcullis-agent, VARIABLE=VALUE… (the build arguments; the Dockerfile has their defaults)
  local begin='^FROM scratch$' stage variable value argument labels
  [ "$1" != portcullis-agent ] || begin='^FROM scratch AS agent$'
  shift
  stage=$(sed -e ':join' -e '/\\$/{N; s/\\\n *//; bjoin' -e '}' "$(dirname "${BASH_SOURCE[0]}")/../Dockerfile" |
    awk -v begin="$begin" '/^FROM /{within = $0 ~ begin} within')
  instruction() { sed -n "s/^$1 //p" <<<"$stage"; }
  for argument in "$@"; do stage=${stage//"\$${argument%%=*}"/"${argument#*=}"}; done
  while IFS='=' read -r variable value; do stage=${stage//"\$$variable"/"$value"}; done < <(instruction ARG)
  labels=$(instruction LABEL | sed -E 's/([^ =]+)=("[^"]*") ?/"\1":\2,/g; s/,$//')
  configuration="{\"Entrypoint\":$(instruction ENTRYPOINT),\"User\":\"$(instruction USER)\",\"Labels\":{$labels}}"
  mapfile -t files < <(instruction COPY | sed 's|.* /||')
}
