#!/usr/bin/env bash
# Prints the text of a release page: the section of CHANGELOG.md about a version, how to install it, and how to verify it.
# Usage: notes.sh VERSION, or notes.sh Unreleased
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
notes=$(awk -v heading="## $1" '/^## /{within = $0 == heading || index($0, heading " ") == 1; next} within' CHANGELOG.md)
[ -n "$notes" ] || { echo "CHANGELOG.md has no section $1" >&2; exit 1; }
registry=ghcr.io/portcullis-dev
identity=https://github.com/portcullis-dev/portcullis/.github/workflows/release.yml@refs/tags/v$1
cat <<NOTES
$notes

### Install
\`\`\`
helm install portcullis oci://$registry/charts/portcullis --version $1 --namespace portcullis-system --create-namespace --wait
\`\`\`

### Verify
Checksums, signatures (cosign) and provenance (SLSA) are those of the workflow that made this release:
\`\`\`
sha256sum --check --ignore-missing SHA256SUMS
cosign verify-blob SHA256SUMS --bundle SHA256SUMS.sigstore.json \\
  --certificate-oidc-issuer https://token.actions.githubusercontent.com --certificate-identity $identity
cosign verify $registry/portcullis:$1 \\
  --certificate-oidc-issuer https://token.actions.githubusercontent.com --certificate-identity $identity
gh attestation verify oci://$registry/portcullis:$1 --repo portcullis-dev/portcullis
\`\`\`
NOTES
