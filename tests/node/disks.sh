#!/usr/bin/env bash
# Makes the volumes of the node: each claim of the class `standard` gets a disk of its own, which is really full when
# what was asked for is used up: a sparse file with a file system. Usage: disks.sh FOLDER
# Kubernetes' own host paths would be root's alone and without a limit.
set -euo pipefail
folder=$1
provisioner=portcullis.dev/disks

make_disk() { # uid of the claim, size in bytes
  local disk=$folder/$1
  [ ! -d "$disk" ] || return 0
  truncate --size "$2" "$disk.image"
  mkfs.ext4 -q -m 0 -O ^has_journal "$disk.image"
  mkdir "$disk"
  mount -o loop,discard "$disk.image" "$disk"
}

serve_claims() {
  local fields='{.status.phase}|{.spec.storageClassName}|{.metadata.annotations.volume\.kubernetes\.io/selected-node}'
  fields+='|{.metadata.namespace}|{.metadata.name}|{.metadata.uid}|{.spec.resources.requests.storage}|{.spec.volumeName}{"\n"}'
  kubectl get persistentvolumeclaims --all-namespaces --watch --output "jsonpath=$fields" |
    while IFS='|' read -r phase class node namespace name uid size volume; do
      # A pod has to want it first: the class says WaitForFirstConsumer, as most clusters' do.
      [ "$phase/$class/$volume" = Pending/standard/ ] && [ -n "$node" ] || continue
      make_disk "$uid" "$(numfmt --from auto "$size")" || continue
      kubectl create --validate=false --filename - <<YAML || true
apiVersion: v1
kind: PersistentVolume
metadata: {name: pvc-$uid, annotations: {pv.kubernetes.io/provisioned-by: $provisioner}}
spec:
  storageClassName: standard
  capacity: {storage: "$size"}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: $namespace, name: $name, uid: $uid}
  local: {path: $folder/$uid}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node]}]}]}}
YAML
    done
}

take_back_volumes() {
  kubectl get persistentvolumes --watch --output 'jsonpath={.status.phase}|{.metadata.name}|{.spec.local.path}{"\n"}' |
    while IFS='|' read -r phase name disk; do
      [ "$phase" = Released ] && [[ $disk == "$folder"/* ]] || continue
      umount --lazy "$disk" || true
      rm -rf "$disk" "$disk.image"
      kubectl delete persistentvolume "$name" --wait=false || true
    done
}

# Either ends when the API server goes away; both are then started again. Each is a group of processes.
set -m
serve_claims &
claims=$!
take_back_volumes &
volumes=$!
wait -n || true
kill -- "-$claims" "-$volumes" 2>/dev/null || true
