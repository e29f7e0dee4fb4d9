#!/usr/bin/env bash
# Builds what judges the chart (helm, kubeconform, kube-score) from Go modules, once, and prints the folder that holds
# it. Usage: build.sh [helm], for helm alone. Cache: ${PORTCULLIS_CACHE:-~/.cache/portcullis}/chart, outside the checkout. Needs Go, no root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../../support/once.sh
source "$here/../../support/once.sh"

command -v go >/dev/null || { echo "building helm needs Go (https://go.dev/dl)" >&2; exit 1; }
only_one "$cache/chart"
key=$(cat "$here"/*/go.mod | sha256sum | cut -c 1-12)
out=$cache/chart/$key
# Unstamped, helm says v4.0 of itself, and a chart that asks for a newer one would be refused.
stamp=helm.sh/helm/v4/internal/version.version
go_build "$here/helm" "$out/helm" helm.sh/helm/v4/cmd/helm \
  -ldflags "-s -w -X $stamp=$(version_of "$here/helm" helm.sh/helm/v4)"
if [ "${1:-}" != helm ]; then
  go_build "$here/kubeconform" "$out/kubeconform" github.com/yannh/kubeconform/cmd/kubeconform -ldflags "-s -w"
  go_build "$here/kube-score" "$out/kube-score" github.com/zegl/kube-score/cmd/kube-score -ldflags "-s -w"
fi
echo "$out"
