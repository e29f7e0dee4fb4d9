#!/usr/bin/env bash
# Builds a whole Kubernetes node for the tests, once, and prints the folder that holds it: bin/ has every program,
# containerd/ has the images, unpacked. Everything comes from Go modules and Debian packages, at pinned versions.
# Cache: ${PORTCULLIS_CACHE:-~/.cache/portcullis}/node, outside the checkout. Needs Go, a C compiler, pkg-config, a Debian
# or Ubuntu, and root, for the image of Debian.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../support/once.sh
source "$here/../support/once.sh"
# shellcheck source=containerd.sh
source "$here/containerd.sh"

release=$(debian_release) || { echo "the tests' node is built from Debian packages: it needs apt-get" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "the tests' node needs root" >&2; exit 1; }
for tool in go gcc pkg-config openssl mkfs.ext4 ip; do
  command -v "$tool" >/dev/null || { echo "the tests' node needs $tool" >&2; exit 1; }
done
control_plane=$(env -u KUBEBUILDER_ASSETS bash "$here/../controlplane/build.sh" kube-proxy kube-scheduler kubelet)

# Whatever goes into the images, or says how they are made.
key=$(cat "$here"/{build,containerd,image}.sh "$here"/*/go.mod "$here/static/main.go" | sha256sum | cut -c 1-12)
out=$cache/node/$release-$key
only_one "$cache/node"
if [ -e "$out/complete" ]; then
  echo "$out"
  exit
fi
rm -rf "$out"
mkdir -p "$out/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

debian=$cache/node/debian-$release
if [ ! -e "$debian/root/usr/bin/mmdebstrap" ]; then
  echo "unpacking Debian's busybox, libseccomp, mmdebstrap and nft (once; kept in $debian)" >&2
  unpack_debian "$debian" busybox-static libseccomp-dev mmdebstrap nftables
fi
debian_command "$debian" usr/sbin/nft "$out/bin/nft"

version() { version_of "$here/$1" "$2"; }
module=github.com/containerd/containerd/v2
version=$(version containerd $module)
containerd=$cache/node/containerd-$version
for command in containerd containerd-shim-runc-v2 ctr; do
  go_build "$here/containerd" "$containerd/$command" "$module/cmd/$command" \
    -ldflags "-s -w -X $module/version.Version=$version"
done
module=github.com/opencontainers/runc
runc=$cache/node/runc-$(version runc $module)
libraries=$debian/root/usr/lib/$(gcc -print-multiarch)
PKG_CONFIG_PATH=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$debian/root CGO_ENABLED=1 \
  go_build "$here/runc" "$runc/runc" $module -tags seccomp,netgo,osusergo -ldflags "-s -w -linkmode external -extldflags -static"
module=github.com/containernetworking/plugins
cni=$cache/node/cni-$(version cni $module)
for plugin in ipam/host-local main/loopback main/ptp; do
  go_build "$here/cni" "$cni/${plugin#*/}" "$module/plugins/$plugin" -ldflags "-s -w"
done
module=github.com/coredns/coredns
coredns=$cache/node/coredns-$(version coredns $module)
go_build "$here/coredns" "$coredns/coredns" $module -ldflags "-s -w"
module=sigs.k8s.io/metrics-server
metrics_server=$cache/node/metrics-server-$(version metrics-server $module)
go_build "$here/metrics-server" "$metrics_server/metrics-server" $module/cmd/metrics-server -ldflags "-s -w"
go_build "$here/static" "$work/static" . -ldflags "-s -w"
ln -s "$control_plane"/* "$containerd"/* "$runc"/* "$cni"/* "$out/bin/"

# An image with the files that are given, each at the root.
image() { # name, configuration, file…
  local name=$1 configuration=$2
  shift 2
  local file layer=()
  for file; do layer+=(--directory "$(dirname "$file")" "${file##*/}"); done
  tar --create --file "$work/layer.tar" --owner 0 --group 0 --sort name --mtime @0 "${layer[@]}"
  bash "$here/image.sh" "$work/$name.tar" "local/$name:1" "$work/layer.tar" "$configuration"
}
path='"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]'
mkdir -p "$work/busybox/bin" "$work/busybox/tmp"
chmod 1777 "$work/busybox/tmp"
cp "$debian/root/bin/busybox" "$work/busybox/bin/"
for applet in $("$work/busybox/bin/busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$work/busybox/bin/$applet"
done
image pause '{"Entrypoint":["/bin/sleep","infinity"]}' "$work/busybox/bin"
image busybox "{\"Cmd\":[\"/bin/sh\"],$path}" "$work/busybox/bin" "$work/busybox/tmp"
image coredns '{"Entrypoint":["/coredns"],"User":"65532"}' "$coredns/coredns"
image metrics-server '{"Entrypoint":["/metrics-server"],"User":"65532"}' "$metrics_server/metrics-server"
image static '{"Entrypoint":["/static"],"User":"65532"}' "$work/static"

# A workspace's image: something with which a program is fetched, built and tested.
contents=ca-certificates,curl,gcc,git,libc6-dev,make,procps,python3-minimal
workspace=$cache/node/workspace-$release-$(sha256sum <<<"$contents" | cut -c 1-12).tar
if [ ! -e "$workspace" ]; then
  echo "making an image of Debian $release (once; kept as $workspace)" >&2
  # shellcheck disable=SC2016 # expanded by mmdebstrap's shell
  PATH=$debian/root/usr/bin:$PATH mmdebstrap --quiet --variant=minbase --include="$contents" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --customize-hook='chroot "$1" useradd --create-home --uid 1000 dev' \
    "$release" "$workspace.partial.tar" >&2
  mv "$workspace.partial.tar" "$workspace"
fi
bash "$here/image.sh" "$work/workspace.tar" local/workspace:1 "$workspace" \
  "{\"User\":\"1000:1000\",\"WorkingDir\":\"/home/dev\",\"Cmd\":[\"/bin/bash\"],$path}"

# The images are unpacked here, and every node mounts them, so that none has to do it again.
echo "unpacking the node's images (once; kept in $out)" >&2
configure_containerd "$out" "$out/bin"
export -f wait_for_containerd
# shellcheck disable=SC2016 # expanded by the inner shell
PATH=$out/bin:$PATH unshare --mount --net --pid --fork --kill-child bash -euo pipefail -c '
  mount -t tmpfs tmpfs /run
  containerd --config "$1/containerd.toml" >"$1/containerd.log" 2>&1 &
  wait_for_containerd "$1"
  export CONTAINERD_ADDRESS=$1/containerd.sock CONTAINERD_NAMESPACE=k8s.io
  rm "$2/layer.tar"
  for archive in "$2"/*.tar; do ctr images import --local --discard-unpacked-layers "$archive"; done
  # Removing a lease is how to ask for what nothing refers to any more to be removed at once.
  ctr leases create --id sweep
  ctr leases delete --sync sweep
  kill $!
  wait' unpack "$out" "$work" >&2
rm -rf "$out"/{cni,containerd-state,containerd.log,containerd.toml,opt} "$out"/containerd*.sock
touch "$out/complete"
echo "$out"
