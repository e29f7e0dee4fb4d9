#!/usr/bin/env bash
# Builds the tests' control plane (etcd, kube-apiserver, kube-controller-manager, kubectl) from Go modules, once,
# and prints the folder that holds it. KUBEBUILDER_ASSETS, if set, names a folder with prebuilt ones instead.
# Cache: ${PORTCULLIS_CACHE:-~/.cache/portcullis}/controlplane/VERSIONS, outside the checkout. Needs Go, no root.
# Arguments name more of Kubernetes' commands, such as kubelet.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../support/once.sh
source "$here/../support/once.sh"
commands=(kube-apiserver kube-controller-manager kubectl "$@")

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for binary in etcd "${commands[@]}"; do
    [ -x "$KUBEBUILDER_ASSETS/$binary" ] || {
      echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $binary; unset it to have everything built from Go modules" >&2
      exit 1
    }
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

command -v go >/dev/null || { echo "building the tests' control plane needs Go (https://go.dev/dl), or set KUBEBUILDER_ASSETS" >&2; exit 1; }
kubernetes=$(version_of "$here/kubernetes" k8s.io/kubernetes)
etcd=$(version_of "$here/etcd" go.etcd.io/etcd/server/v3)
out=$cache/controlplane/kubernetes-$kubernetes-etcd-$etcd
only_one "$out"
go_build "$here/etcd" "$out/etcd" go.etcd.io/etcd/server/v3 -ldflags "-s -w"
for command in "${commands[@]}"; do
  go_build_kubernetes "$here/kubernetes" "$out/$command"
done
echo "$out"
