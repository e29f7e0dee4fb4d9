#!/usr/bin/env bash
# Runs a whole Kubernetes of one node, or two, until it is killed. All of it lives in namespaces of its own: nothing stays mounted
# and no process survives. Usage: up.sh FOLDER, which is to be empty but for
#   manifests/*          objects that are to be there before any controller runs, such as custom resources
#   audit-policy.yaml    makes the API server write audit.log
#   two-nodes            makes a second node, node2, for what is drained; volumes stay with the first
# and where it puts admin.kubeconfig, pki/, log/, and `ready` once the node is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
built=$(bash "$here/build.sh")
# The network namespace of the machine stays open, so that one end of a cable can be laid there.
exec 8</proc/self/ns/net
exec unshare --net --mount --pid --fork --kill-child bash "$here/run.sh" "$(realpath "$1")" "$built"
