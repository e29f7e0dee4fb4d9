#!/usr/bin/env bash
# Puts the programs of one target where assemble.sh looks for them, each with an SBOM of what is linked into it:
#   OUT/TARGET/portcullis                                for people, with `portcullis dev`
#   OUT/TARGET/image/portcullis, image/portcullis-agent  for images; Linux only
# Usage: collect.sh TARGET OUT PROGRAM [IMAGE-PROGRAM IMAGE-AGENT]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$1 folder=$2/$1
sbom() { python3 "$here/sbom.py" --target "$target" "$@"; }

rm -rf "$folder"
mkdir -p "$folder"
cp "$3" "$folder/portcullis"
sbom --output "$folder/portcullis.spdx.json" --program "$folder/portcullis" portcullis default,quiet
if [ $# -gt 3 ]; then
  mkdir "$folder/image"
  cp "$4" "$folder/image/portcullis"
  cp "$5" "$folder/image/portcullis-agent"
  agent=(--program "$folder/image/portcullis-agent" portcullis-agent quiet)
  # The first image has both programs.
  sbom --output "$folder/image/portcullis.spdx.json" --program "$folder/image/portcullis" portcullis quiet "${agent[@]}"
  sbom --output "$folder/image/portcullis-agent.spdx.json" "${agent[@]}"
fi
