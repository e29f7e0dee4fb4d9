#!/usr/bin/env bash
# Builds the tests' control plane (etcd, kube-apiserver, kube-controller-manager, kubectl) from Go modules, once,
# and prints the folder that holds it. KUBEBUILDER_ASSETS, if set, names a folder with prebuilt ones instead.
# Cache: ${PORTCULLIS_CACHE:-~/.cache/portcullis}/controlplane/VERSIONS, outside the checkout. Needs Go, no root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for binary in etcd kube-apiserver kube-controller-manager kubectl; do
    [ -x "$KUBEBUILDER_ASSETS/$binary" ] || {
      echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no $binary; unset it to have all four built from Go modules" >&2
      exit 1
    }
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

command -v go >/dev/null || { echo "building the tests' control plane needs Go (https://go.dev/dl), or set KUBEBUILDER_ASSETS" >&2; exit 1; }
version_of() { sed -nE "s#^(require )?[[:space:]]*$2 (v[^ ]+).*#\2#p" "$here/$1/go.mod" | head -n 1; }
kubernetes=$(version_of kubernetes k8s.io/kubernetes)
etcd=$(version_of etcd go.etcd.io/etcd/server/v3)
out=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}/controlplane/kubernetes-$kubernetes-etcd-$etcd
mkdir -p "$out"

# One builder at a time: tests of several processes may ask at once.
exec 9>"$out.lock"
flock 9
build() { # folder, output, package, linker flags
  [ -x "$out/$2" ] && return
  echo "building $2 (once; kept in $out)" >&2
  (cd "$here/$1" && CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly" \
    go build -trimpath -ldflags "-s -w ${4:-}" -o "$out/$2.partial" "$3" >&2)
  mv "$out/$2.partial" "$out/$2"
}
minor=${kubernetes#v1.}
stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
build etcd etcd go.etcd.io/etcd/server/v3
for command in kube-apiserver kube-controller-manager kubectl; do
  build kubernetes "$command" "k8s.io/kubernetes/cmd/$command" "$stamp"
done
echo "$out"
