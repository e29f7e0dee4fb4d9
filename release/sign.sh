#!/usr/bin/env bash
# Signs what publish.sh pushed and the checksums, without a key: cosign gets a certificate for the identity of the
# workflow (https://docs.sigstore.dev/cosign/signing/overview). Attaches each image's SBOM to it.
# Usage: sign.sh DIST PUBLISHED, with PUBLISHED the file of what publish.sh printed. Needs cosign and, in a workflow, `id-token: write`
set -euo pipefail
dist=$1 published=$2

while IFS='=' read -r name reference; do
  cosign sign --yes "$reference"
  for sbom in "$dist/images/$name"-{amd64,arm64}.spdx.json; do
    [ ! -e "$sbom" ] || cosign attest --yes --type spdxjson --predicate "$sbom" "$reference"
  done
done <"$published"
cosign sign-blob --yes --bundle "$dist/SHA256SUMS.sigstore.json" "$dist/SHA256SUMS"
