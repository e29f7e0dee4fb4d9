#!/usr/bin/env bash
# `make try`: from a checkout to the first tool call in the cluster of the current kubeconfig context. Brings the image
# there, installs the chart, applies examples/try.yaml, forwards a port, and prints what to do next. May be run again.
# Runs with the bash 3.2 of macOS too.
# Usage: try.sh. Variables:
#   PORT       the port on this machine, 8080 if unset
#   REGISTRY   where to push the image, such as registry.example.com/team, for clusters other than kind, k3d and minikube
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
port=${PORT:-8080}
namespace=portcullis-try
image=local/portcullis tag=test pull=Never workspace=
work=$(mktemp -d)
forward=
trap '[ -z "$forward" ] || kill "$forward" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
fail() { printf 'make try: %s\n' "$*" >&2; exit 1; }
step() { printf '\n== %s\n' "$1" >&2; }

command -v kubectl >/dev/null || fail "needs kubectl: https://kubernetes.io/docs/tasks/tools"
context=$(kubectl config current-context 2>/dev/null) ||
  fail "kubectl has no current context. Start a cluster, such as with: kind create cluster"
kubectl get --raw /readyz >/dev/null || fail "the cluster of the context $context does not answer; try: kubectl cluster-info"
if ! helm=$(command -v helm); then
  command -v go >/dev/null || fail "needs helm (https://helm.sh/docs/intro/install), or Go to build it"
  helm=$(bash tests/chart/tools/build.sh helm)/helm
fi
engine=
for candidate in docker podman; do
  [ -n "$engine" ] || ! "$candidate" info >/dev/null 2>&1 || engine=$candidate
done

# Builds the image, and writes it to an archive.
archive() {
  if [ -n "$engine" ]; then
    # With a host in its name, docker and podman call it the same.
    "$engine" build --tag "docker.io/$image:$tag" . >&2
    "$engine" save --output "$work/image.tar" "docker.io/$image:$tag"
  elif [ "$(uname -s)" = Linux ] && command -v cargo >/dev/null; then
    bash tests/node/portcullis-image.sh "$work/image.tar" >&2
  else
    fail "needs docker or podman to build the image, or Rust on Linux"
  fi
}

step "The image, for the context $context"
# The tests' node has its containerd beside the certificates of its kubeconfig.
authority=$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.certificate-authority}')
node=${authority%/pki/ca.crt}
case $context in
kind-*)
  archive
  kind load image-archive "$work/image.tar" --name "${context#kind-}" >&2
  ;;
k3d-*)
  archive
  k3d image import "$work/image.tar" --cluster "${context#k3d-}" >&2
  ;;
minikube)
  archive
  minikube image load "$work/image.tar" >&2
  ;;
*)
  if [ -n "$authority" ] && [ -S "$node/containerd.sock" ]; then
    engine=
    archive
    built=$(bash tests/node/build.sh)
    PATH=$built/bin:$PATH nsenter --net --mount --pid --target "$(<"$node/pid/init")" \
      ctr --address "$node/containerd.sock" --namespace k8s.io images import --local "$work/image.tar" >&2
    workspace=local/workspace:1
  elif [ -n "${REGISTRY:-}" ]; then
    [ -n "$engine" ] || fail "needs docker or podman to push the image to $REGISTRY"
    image=$REGISTRY/portcullis tag=$(git rev-parse --short HEAD) pull=Always
    "$engine" build --tag "$image:$tag" . >&2
    "$engine" push "$image:$tag" >&2
  else
    fail "the context $context is neither of kind, k3d nor minikube. Name a registry from which its nodes pull, and to which" \
      "you are logged in: REGISTRY=registry.example.com/team make try"
  fi
  ;;
esac

step "The chart, in the namespace portcullis-system"
operator=(--namespace portcullis-system)
installed=$("$helm" status portcullis "${operator[@]}" >/dev/null 2>&1 && echo yes || true)
"$helm" upgrade --install portcullis charts/portcullis "${operator[@]}" --create-namespace --wait --timeout 5m \
  --set "image.repository=$image,image.tag=$tag,image.pullPolicy=$pull" >&2
if [ -n "$installed" ]; then
  # A new image may have the same name.
  kubectl "${operator[@]}" rollout restart deployment/portcullis-operator >&2
  kubectl "${operator[@]}" rollout status deployment/portcullis-operator --timeout 5m >&2
fi

step "examples/try.yaml, in the namespace $namespace"
kubectl create namespace "$namespace" --dry-run=client --output yaml | kubectl apply --filename - >&2
servers=$(kubectl --namespace "$namespace" get pods --selector portcullis.dev/endpoint=agents --output name)
sed -e "s#127.0.0.1:8080#127.0.0.1:$port#" ${workspace:+-e "s#debian:bookworm#$workspace#"} examples/try.yaml |
  kubectl --namespace "$namespace" apply --filename - >&2
if [ -n "$servers" ]; then
  kubectl --namespace "$namespace" rollout restart deployment/agents >&2
  kubectl --namespace "$namespace" rollout status deployment/agents --timeout 5m >&2
  # So that the port-forward does not lead to one that is about to end.
  # shellcheck disable=SC2086 # a word each
  kubectl --namespace "$namespace" wait --for=delete $servers --timeout 5m >&2
fi
kubectl --namespace "$namespace" wait --for=condition=Ready mcp/agents oac/ci-agent --timeout 5m >&2 ||
  fail "the endpoint is not ready; its conditions say why: kubectl --namespace $namespace describe mcp/agents"

step "http://127.0.0.1:$port/mcp, by a port-forward"
kubectl --namespace "$namespace" port-forward service/agents "$port:80" >"$work/forward" 2>&1 &
forward=$!
for _ in $(seq 100); do
  ! grep -q '^Forwarding from 127.0.0.1' "$work/forward" || break
  kill -0 "$forward" 2>/dev/null || break
  sleep 0.1
done
grep -q '^Forwarding from 127.0.0.1' "$work/forward" ||
  fail "$(cat "$work/forward")" "If port $port is taken, choose another: PORT=8081 make try"

# How another terminal comes to the same cluster.
shown=$(printf %q "$context")
environment=
[ -z "${KUBECONFIG:-}" ] || environment="export KUBECONFIG=$(printf %q "$KUBECONFIG") PATH=$(printf %q "$(dirname "$(command -v kubectl)")"):\$PATH
"
post="curl -sS -H @- -H 'Content-Type: application/json' http://127.0.0.1:$port/mcp -d"
cat <<SAY

Portcullis runs in the context $context. The port-forward ends with Ctrl-C.

1. In another terminal, get an access token with the credentials that the operator made for the client ci-agent:

${environment}AUTH=\$(kubectl --context $shown --namespace $namespace get secret ci-agent-oauth --output go-template='client_id={{index .data "client-id" | base64decode}}&client_secret={{index .data "client-secret" | base64decode}}' | curl -sSf -d grant_type=client_credentials -d @- http://127.0.0.1:$port/token | sed -E 's/.*"access_token": ?"([^"]*)".*/Authorization: Bearer \\1/')

2. Create a workspace, the first tool call. It takes as long as the cluster needs to pull its image:

printf '%s' "\$AUTH" | $post '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_workspace","arguments":{"template":"debian","name":"hello"}}}'; echo

3. Run a command in it:

printf '%s' "\$AUTH" | $post '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"run_command","arguments":{"workspace":"hello","command":"cat /etc/os-release"}}}'; echo

4. Add the endpoint to Claude Code, for as long as the token lasts:

claude mcp add --transport http agents http://127.0.0.1:$port/mcp --header "\$AUTH"

To remove it all:

kubectl --context $shown delete namespace $namespace
helm --kube-context $shown uninstall portcullis --namespace portcullis-system

docs/install.md has the rest: your own host and certificate, users who sign in, upgrades.
SAY
wait "$forward" || fail "the port-forward has ended; to begin it anew: make try"
