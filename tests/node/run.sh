#!/usr/bin/env bash
# Process 1 of a node's own namespaces: see up.sh. Usage: run.sh FOLDER BUILT, with the machine's network as descriptor 8
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$1 built=$2
# shellcheck source=containerd.sh
source "$here/containerd.sh"
export PATH=$built/bin:$PATH
cd "$state"
mkdir -p pki log pid stopped manifests cni var var-work disks
nodes=(node)
[ ! -e two-nodes ] || nodes+=(node2)
# What nsenter needs: this process's id outside, which the old /proc still tells.
read -r id _ </proc/self/stat
echo "$id" >pid/init

# A cable to the machine. The first number whose name nobody has is ours, until this namespace ends; it makes the
# addresses of this node's pods and services differ from any other's, so that the machine can reach them all.
machine() { nsenter --net=/proc/self/fd/8 "$@"; }
ip link set lo up
for number in {0..63} none; do
  [ "$number" != none ] || { echo "no network device can be made, or 64 nodes run already" >&2; exit 1; }
  ip link add uplink type veth peer name "portcullis$number" netns /proc/self/fd/8 2>log/uplink && break
done
machine_address=198.51.100.$((4 * number + 1)) node_address=198.51.100.$((4 * number + 2))
pods=198.18.$((4 * number)).0/22 services=198.19.$((4 * number)).0/22
service_address=198.19.$((4 * number)).1 dns_address=198.19.$((4 * number)).10
machine ip address add "$machine_address/30" dev "portcullis$number"
machine ip link set "portcullis$number" up
ip address add "$node_address/30" dev uplink
ip link set uplink up
machine ip route add "$pods" via "$node_address"
machine ip route add "$services" via "$node_address"
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$machine_address" >machine-address
echo "portcullis$number $(<"/sys/class/net/portcullis$number/ifindex")" >cable

# Whatever writes to fixed places writes here instead.
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t overlay -o "lowerdir=/var,upperdir=$state/var,workdir=$state/var-work" overlay /var
# The first node lives in the folder itself, a second one below it.
home() { [ "$1" = node ] && echo "$state" || echo "$state/$1"; }
cgroup() { [ "$1" = node ] && echo "${state##*/}" || echo "${state##*/}/$1"; }
snapshots=io.containerd.snapshotter.v1.overlayfs/snapshots
for node in "${nodes[@]}"; do
  # The images are there already: their snapshots are only mounted, the small rest is copied.
  images=$(home "$node")/containerd
  mkdir -p "$images"
  (cd "$built/containerd" && tar --create --exclude "./$snapshots/*" .) | tar --extract --directory "$images"
  for snapshot in "$built/containerd/$snapshots"/*; do
    mkdir "$images/$snapshots/${snapshot##*/}"
    mount --bind "$snapshot" "$images/$snapshots/${snapshot##*/}"
    mount -o remount,bind,ro "$images/$snapshots/${snapshot##*/}"
  done
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$(cgroup "$node")"
  else
    for hierarchy in /sys/fs/cgroup/*/; do mkdir -p "$hierarchy$(cgroup "$node")"; done
  fi
done

# One authority signs everything.
issue() { # name, subject, alternative names
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "$2" -CA pki/ca.crt -CAkey pki/ca.key \
    -keyout "pki/$1.key" -out "pki/$1.crt" -addext "extendedKeyUsage=serverAuth,clientAuth" \
    -addext "basicConstraints=critical,CA:FALSE" -addext "subjectAltName=$3" 2>>log/openssl
}
kubeconfig() { # name
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: tests, cluster: {server: "https://$node_address:6443", certificate-authority: $state/pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key}}]
contexts: [{name: tests, context: {cluster: tests, user: $1}}]
current-context: tests
YAML
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=tests \
  -keyout pki/ca.key -out pki/ca.crt 2>>log/openssl
issue apiserver /CN=kube-apiserver "DNS:kubernetes.default.svc,DNS:kubernetes.default,IP:127.0.0.1,IP:$node_address,IP:$service_address"
for node in "${nodes[@]}"; do issue "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$node_address"; done
issue front-proxy /CN=front-proxy DNS:front-proxy
issue admin /O=system:masters/CN=admin DNS:admin
issue controllers /O=system:masters/CN=controllers DNS:controllers
openssl ecparam -name prime256v1 -genkey -noout -out pki/accounts.key
for user in "${nodes[@]}" admin controllers; do kubeconfig "$user"; done

# Runs a program for ever; while there is a file of its name in stopped/, it stays down.
keep() { # name, command…
  local name=$1
  shift
  while :; do
    "$@" >>"log/$name" 2>&1 8<&- &
    echo $! >"pid/$name"
    wait $! || true
    while sleep 0.1 && [ -e "stopped/$name" ]; do :; done
  done
}

keep etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn &
audit=()
[ ! -e audit-policy.yaml ] || audit=(--audit-policy-file audit-policy.yaml --audit-log-path audit.log)
keep kube-apiserver kube-apiserver "${audit[@]}" \
  --etcd-servers http://127.0.0.1:2379 --advertise-address "$node_address" --service-cluster-ip-range "$services" \
  --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key --client-ca-file pki/ca.crt \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file pki/accounts.key \
  --service-account-signing-key-file pki/accounts.key \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction,OwnerReferencesPermissionEnforcement --allow-privileged \
  --kubelet-client-certificate pki/apiserver.crt --kubelet-client-key pki/apiserver.key \
  --kubelet-certificate-authority pki/ca.crt --kubelet-preferred-address-types InternalIP \
  --requestheader-client-ca-file pki/ca.crt --requestheader-allowed-names front-proxy \
  --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
  --requestheader-extra-headers-prefix X-Remote-Extra- \
  --proxy-client-cert-file pki/front-proxy.crt --proxy-client-key-file pki/front-proxy.key --enable-aggregator-routing &

# Each pod is at the other end of a cable, so that a pod reaches another through a service without help of the kernel's
# bridge. Nothing leads out of the machine: there is no default route.
cat >cni/10-pods.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "host-local",
  "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$state/addresses"}}]}
JSON
for node in "${nodes[@]}"; do
  # Pods of all nodes take their addresses from one place, and reach each other without more.
  [ "$node" = node ] || ln -s ../cni "$node/cni"
  configure_containerd "$(home "$node")" "$built/bin"
  keep "containerd${node#node}" containerd --config "$(home "$node")/containerd.toml" &
done

export KUBECONFIG=$state/controllers.kubeconfig
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
sed "s/DNS_ADDRESS/$dns_address/" "$here/cluster.yaml" >manifests/cluster.yaml
start_kubelet() { # node, port
  local home
  home=$(home "$1")
  wait_for_containerd "$home"
  cat >"$home/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: $2
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/$1.crt
tlsPrivateKeyFile: $state/pki/$1.key
containerRuntimeEndpoint: unix://$home/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup "$1")
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
clusterDNS: ["$dns_address"]
clusterDomain: cluster.local
resolvConf: /dev/null
podLogsDir: /var/log/pods-of-$1
volumePluginDir: $state/volume-plugins
maxPods: 250
podPidsLimit: 1024
# The machine's disk is not this node's alone.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
YAML
  keep "kubelet${1#node}" kubelet --config "$home/kubelet.yaml" --kubeconfig "$1.kubeconfig" --hostname-override "$1" \
    --node-ip "$node_address" --root-dir "$home/kubelet" &
}
port=10250
for node in "${nodes[@]}"; do start_kubelet "$node" $((port++)); done

# Before the controllers: one of them looks for new kinds every 30 seconds only.
kubectl create --validate=false --filename manifests >log/manifests 2>&1
keep kube-controller-manager kube-controller-manager --kubeconfig controllers.kubeconfig --leader-elect=false \
  --use-service-account-credentials --service-account-private-key-file pki/accounts.key --root-ca-file pki/ca.crt \
  --kube-api-qps 500 --kube-api-burst 1000 &
keep kube-scheduler kube-scheduler --kubeconfig controllers.kubeconfig --leader-elect=false &
keep kube-proxy kube-proxy --kubeconfig controllers.kubeconfig --hostname-override node --proxy-mode nftables \
  --cluster-cidr "$pods" --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 &
keep disks bash "$here/disks.sh" "$state/disks" &
for node in "${nodes[@]}"; do
  kubectl wait --for create --timeout 120s "node/$node" >>log/ready 2>&1
  kubectl wait --for condition=Ready --timeout 120s "node/$node" >>log/ready 2>&1
done
touch ready
wait
