#!/usr/bin/env bash
# The tests' node, for people: `make cluster-up` and `make cluster-down`. Usage: cluster.sh up|down
# PORTCULLIS_CLUSTER: the folder that it lives in, /tmp/portcullis-cluster if unset; another one for a second node.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${PORTCULLIS_CLUSTER:-/tmp/portcullis-cluster}
[ "$(id -u)" = 0 ] || { echo "a whole node needs root: sudo -E make cluster-$1" >&2; exit 1; }

down() {
  if [ -e "$folder/outer" ]; then
    kill -KILL "$(<"$folder/outer")" 2>/dev/null || true
  fi
  bash "$here/clean.sh" "$folder"
}

case ${1:-} in
up)
  [ ! -e "$folder" ] || { echo "there is one already, or what is left of one: make cluster-down" >&2; exit 1; }
  built=$(bash "$here/build.sh")
  # Without the custom resources: the chart installs them, and Helm refuses those that it has not made.
  mkdir -p "$folder/manifests"
  setsid bash "$here/up.sh" "$folder" >"$folder/up.log" 2>&1 </dev/null &
  echo $! >"$folder/outer"
  for _ in $(seq 600); do
    [ -e "$folder/ready" ] || ! kill -0 $! 2>/dev/null || { sleep 0.2; continue; }
    break
  done
  [ -e "$folder/ready" ] || { cat "$folder/up.log" >&2; echo "it did not start: see $folder/log, then make cluster-down" >&2; exit 1; }
  cat <<SAY
The node is ready, and empty. Its logs are in $folder/log. To have kubectl, and then this checkout, in it:

  export KUBECONFIG=$folder/admin.kubeconfig PATH=$built/bin:\$PATH
  make try

Its images: local/workspace:1 (Debian with git, gcc, make and Python), local/busybox:1, local/static:1. One more, from an
archive such as that of \`docker save\`:

  ctr --address $folder/containerd.sock --namespace k8s.io images import --local IMAGE.tar

\`make cluster-down\` ends it.
SAY
  ;;
down) down ;;
*) echo "usage: $0 up|down" >&2; exit 2 ;;
esac
