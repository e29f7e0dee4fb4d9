#!/usr/bin/env bash
# Writes the plain manifests of deploy/ from the chart with its defaults, one file per template. Usage: render.sh FOLDER
# namespace.yaml and kustomization.yaml there are written by hand.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
helm=$(bash "$here/../tests/chart/tools/build.sh")/helm
mkdir -p "$1"
"$helm" template portcullis "$here/portcullis" --namespace portcullis-system --skip-tests |
  sed -e '/helm.sh\/chart:/d' -e 's/managed-by: Helm$/managed-by: kustomize/' |
  awk -v folder="$1" '
    $0 == "---" { next }
    /^# Source: / {
      file = folder "/" $3
      sub(/\/portcullis\/templates\//, "/", file)
      if (file in seen) print "---" >file
      else print "# Written by `make deploy` from charts/portcullis." >file
      seen[file]
      blank = ""
      next
    }
    # Those at the end of a document are left out.
    $0 == "" { blank = blank "\n"; next }
    { printf "%s%s\n", blank, $0 >file; blank = "" }'
