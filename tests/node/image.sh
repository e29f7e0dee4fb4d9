#!/usr/bin/env bash
# Writes an image as an archive that `ctr images import` reads: one layer, made elsewhere, and its configuration.
# Usage: image.sh OUTPUT NAME LAYER.tar CONFIGURATION, the last as JSON, such as {"Entrypoint":["/portcullis"]}
set -euo pipefail
output=$1 name=$2 layer=$(realpath "$3") configuration=$4
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
digest=$(sha256sum <"$layer")
cat >"$work/config.json" <<JSON
{"architecture":"$architecture","os":"linux","config":$configuration,
"rootfs":{"type":"layers","diff_ids":["sha256:${digest%% *}"]}}
JSON
ln -s "$layer" "$work/layer.tar"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$work/manifest.json"
tar --create --dereference --file "$output.partial" --directory "$work" config.json layer.tar manifest.json
mv "$output.partial" "$output"
