# Sourced: how the node's containerd is set up.
# shellcheck shell=bash

# Writes the configuration into the folder; the socket is containerd.sock there.
configure_containerd() { # folder, folder of the network plugins
  local cri=io.containerd.cri.v1
  cat >"$1/containerd.toml" <<TOML
version = 3
root = "$1/containerd"
state = "$1/containerd-state"
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "$1/containerd.sock"
[ttrpc]
  address = "$1/containerd.ttrpc.sock"
[plugins.'io.containerd.internal.v1.opt']
  path = "$1/opt"
[plugins.'$cri.images'.pinned_images]
  sandbox = "local/pause:1"
[plugins.'$cri.runtime']
  disable_apparmor = true
  # Root of a container cannot make a process less likely to be killed than it is itself.
  restrict_oom_score_adj = true
[plugins.'$cri.runtime'.cni]
  bin_dirs = ["$2"]
  conf_dir = "$1/cni"
TOML
}

wait_for_containerd() { # folder
  for _ in $(seq 300); do
    ctr --address "$1/containerd.sock" version >/dev/null 2>&1 && return
    sleep 0.1
  done
  echo "containerd does not answer" >&2
  return 1
}
