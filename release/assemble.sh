#!/usr/bin/env bash
# Makes everything that a release publishes from the programs of its targets, without a network:
#   DIST/portcullis-VERSION-TARGET.tar.gz and .spdx.json   the program for people, and its SBOM
#   DIST/portcullis-VERSION.tgz                            the Helm chart
#   DIST/SHA256SUMS                                        of all these files
#   DIST/images/NAME                                       OCI layouts of portcullis and portcullis-agent
#   DIST/images/NAME-ARCHITECTURE.spdx.json                their SBOMs
# Usage: assemble.sh PROGRAMS DIST TARGET…, with PROGRAMS as collect.sh writes it
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=epoch.sh
source "$here/epoch.sh"
programs=$1 dist=$2
shift 2
version=$(bash "$here/version.sh")
revision=$(git -C "$here" rev-parse HEAD)
helm=$(command -v helm) || helm=$(bash "$here/../tests/chart/tools/build.sh" helm)/helm
rm -rf "$dist"
mkdir -p "$dist/images"

pack() { # archive without .gz, folder, file…
  local archive=$1 folder=$2
  shift 2
  tar --create --format ustar --file "$archive" --sort name --numeric-owner --owner 0 --group 0 --mtime "@$SOURCE_DATE_EPOCH" \
    --directory "$folder" "$@"
  gzip --no-name --best "$archive"
}
architectures=()
for target in "$@"; do
  [ -d "$programs/$target" ] || { echo "there are no programs for $target in $programs" >&2; exit 1; }
  # What carries files from one machine to another may have dropped their modes.
  find "$programs/$target" -name 'portcullis*' -not -name '*.json' -type f -exec chmod 0755 {} +
  name=portcullis-$version-$target
  work=$(mktemp -d)
  mkdir "$work/$name"
  cp "$programs/$target/portcullis" "$here/../LICENSE" "$here/../README.md" "$here/../CHANGELOG.md" "$work/$name/"
  chmod 0644 "$work/$name"/*[A-Z]*
  chmod 0755 "$work/$name" "$work/$name/portcullis"
  pack "$dist/$name.tar" "$work" "$name"
  rm -rf "$work"
  cp "$programs/$target/portcullis.spdx.json" "$dist/$name.spdx.json"
  case $target in
  x86_64-*-linux-*) architecture=amd64 ;;
  aarch64-*-linux-*) architecture=arm64 ;;
  *) continue ;;
  esac
  architectures+=("$architecture=$programs/$target/image")
  for image in portcullis portcullis-agent; do
    cp "$programs/$target/image/$image.spdx.json" "$dist/images/$image-$architecture.spdx.json"
  done
done
for image in portcullis portcullis-agent; do
  bash "$here/image.sh" "$image" "$dist/images/$image" "$version" "$revision" "${architectures[@]}"
done
"$helm" package "$here/../charts/portcullis" --destination "$dist" >&2
(cd "$dist" && sha256sum -- *.tar.gz *.tgz *.spdx.json >SHA256SUMS)
