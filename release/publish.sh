#!/usr/bin/env bash
# Pushes the images and the chart of a release, and prints NAME=REFERENCE@DIGEST of each, a line each. A version that is
# published already is never replaced: the same bytes are left as they are, others are refused.
# Usage: publish.sh DIST REGISTRY, with DIST as assemble.sh writes it and a REGISTRY such as ghcr.io/portcullis-dev, to which
# `crane auth login` and `helm registry login` have been made
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=$1 registry=$2
version=$(bash "$here/version.sh")
crane=$(bash "$here/tools/build.sh")
helm=$(command -v helm) || helm=$(bash "$here/../tests/chart/tools/build.sh" helm)/helm

# The digest that a tag has; nothing if the registry says that there is no such tag. Any other answer is a failure: a tag
# that only could not be read must not be overwritten.
published_digest() { # reference
  local errors
  errors=$(mktemp)
  if ! "$crane" digest "$1" 2>"$errors" && ! grep -qE 'NAME_UNKNOWN|MANIFEST_UNKNOWN|404 Not Found' "$errors"; then
    cat "$errors" >&2
    rm "$errors"
    return 1
  fi
  rm "$errors"
}

for name in portcullis portcullis-agent; do
  tag=$registry/$name:$version
  built=$(sed -E 's/.*"digest":"([^"]*)".*/\1/' "$dist/images/$name/index.json")
  published=$(published_digest "$tag")
  if [ -n "$published" ] && [ "$published" != "$built" ]; then
    echo "$tag is published already, with other content ($published): release a new version instead" >&2
    exit 1
  fi
  [ -n "$published" ] || "$crane" push "$dist/images/$name" "$tag" >&2
  echo "$name=$registry/$name@$built"
done

# Packing the chart a second time makes other bytes, so the first one counts.
chart=$registry/charts/portcullis
published=$(published_digest "$chart:$version")
if [ -z "$published" ]; then
  plain=()
  case $registry in 127.0.0.1:* | localhost:*) plain=(--plain-http) ;; esac
  "$helm" push "$dist/portcullis-$version.tgz" "oci://$registry/charts" "${plain[@]}" >&2
  published=$("$crane" digest "$chart:$version")
fi
echo "chart=$chart@$published"
