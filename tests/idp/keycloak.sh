#!/usr/bin/env bash
# Installs Keycloak once, into ${PORTCULLIS_CACHE:-~/.cache/portcullis}/keycloak, built for its file database and with
# realm.json imported, so that a test only copies that database and starts. Keyed by the version and the realm. Prints the
# folder. Needs Maven and Java 17 or newer.
set -euo pipefail
version=26.7.3
checksum=77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for tool in mvn java; do
  command -v "$tool" >/dev/null || { echo "the tests with Keycloak need $tool; install Java 17 or newer, and Maven" >&2; exit 1; }
done
cache=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}/keycloak
out=$cache/$version-$(sha256sum "$here/realm.json" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-16)
mkdir -p "$cache"

# One installer at a time: tests of several processes may ask at once.
exec 9>"$cache/lock"
flock 9
if [ ! -e "$out/complete" ]; then
  echo "installing Keycloak $version (once; kept in $out)" >&2
  rm -rf "$out"
  mkdir -p "$out/download"
  mvn --batch-mode --quiet -Dmaven.repo.local="$out/download/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:tar.gz" -DoutputDirectory="$out/download" >&2
  archive=$out/download/keycloak-quarkus-dist-$version.tar.gz
  echo "$checksum  $archive" | sha256sum --check --quiet >&2
  tar --extract --gzip --file "$archive" --directory "$out" --strip-components 1
  rm -rf "$out/download"
  "$out/bin/kc.sh" build --db=dev-file >&2
  "$out/bin/kc.sh" import --optimized --file "$here/realm.json" >&2
  touch "$out/complete"
fi
echo "$out"
