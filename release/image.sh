#!/usr/bin/env bash
# Writes a multi-arch image as an OCI layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md): what
# a final stage of the Dockerfile makes, from programs that are there already, so that an image has exactly the programs
# that were built once and attested. The same programs make the same bytes.
# Usage: image.sh NAME LAYOUT VERSION REVISION ARCHITECTURE=FOLDER…
#   NAME          portcullis or portcullis-agent
#   LAYOUT        the folder to write; replaced
#   ARCHITECTURE  as Go names it (amd64, arm64), with the folder of its programs
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=dockerfile.sh
source "$here/dockerfile.sh"
# shellcheck source=epoch.sh
source "$here/epoch.sh"
name=$1 layout=$2 version=$3 revision=$4
shift 4
read_stage "$name" "VERSION=$version" "REVISION=$revision"
created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -rf "$layout"
mkdir -p "$layout/blobs/sha256"
digest_of() { local sum; sum=$(sha256sum <"$1"); echo "${sum%% *}"; }
# Moves a file to the blobs, and prints its descriptor without the closing brace.
blob() { # media type, file
  local digest size
  digest=$(digest_of "$2")
  size=$(stat --format %s "$2")
  mv "$2" "$layout/blobs/sha256/$digest"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s' "$1" "$digest" "$size"
}
list() { local IFS=,; echo "$*"; }

manifests=()
for given in "$@"; do
  architecture=${given%%=*} folder=${given#*=}
  layers=() diff_ids=() history=()
  for file in "${files[@]}"; do
    tar --create --format ustar --file "$work/layer.tar" --numeric-owner --owner 0 --group 0 --mode 0755 \
      --mtime "@$SOURCE_DATE_EPOCH" --directory "$folder" "$file"
    diff_ids+=("\"sha256:$(digest_of "$work/layer.tar")\"")
    history+=("{\"created\":\"$created\",\"created_by\":\"COPY /$file\"}")
    gzip --no-name --best "$work/layer.tar"
    layers+=("$(blob application/vnd.oci.image.layer.v1.tar+gzip "$work/layer.tar.gz")}")
  done
  cat >"$work/config" <<JSON
{"created":"$created","architecture":"$architecture","os":"linux","config":$configuration,
"rootfs":{"type":"layers","diff_ids":[$(list "${diff_ids[@]}")]},"history":[$(list "${history[@]}")]}
JSON
  config=$(blob application/vnd.oci.image.config.v1+json "$work/config")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s},"layers":[%s]}' \
    "$config" "$(list "${layers[@]}")" >"$work/manifest"
  manifests+=("$(blob application/vnd.oci.image.manifest.v1+json "$work/manifest"),\"platform\":{\"architecture\":\"$architecture\",\"os\":\"linux\"}}")
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' \
  "$(list "${manifests[@]}")" >"$work/index"
index=$(blob application/vnd.oci.image.index.v1+json "$work/index")
# The names by which `ctr images import`, and others that read layouts, keep it.
annotations="\"annotations\":{\"io.containerd.image.name\":\"ghcr.io/portcullis-dev/$name:$version\",\"org.opencontainers.image.ref.name\":\"$version\"}"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s}]}\n' \
  "$index" "$annotations" >"$layout/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
