#!/usr/bin/env bash
# Prints a folder with custom resource definitions that others bring: those of the Gateway API (standard channel) and of
# Traefik. Taken once from Go modules at pinned versions, into ${PORTCULLIS_CACHE:-~/.cache/portcullis}.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../support/once.sh
source "$here/../support/once.sh"
gateway_api=v1.6.1
traefik=v3.7.13

out=$cache/kinds/gateway-api-$gateway_api-traefik-$traefik
only_one "$out"
if [ ! -e "$out/complete" ]; then
  module() { (cd "$out" && go mod download -json "$1") | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }
  folder=$(module "sigs.k8s.io/gateway-api@$gateway_api")
  cp "$folder"/config/crd/standard/gateway.networking.k8s.io_{gateways,httproutes}.yaml "$out/"
  folder=$(module "github.com/traefik/traefik/v3@$traefik")
  cp "$folder/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml" "$out/traefik.yaml"
  chmod -R u+w "$out"
  touch "$out/complete"
fi
echo "$out"
