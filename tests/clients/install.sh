#!/usr/bin/env bash
# Installs the official MCP clients, and what else the tests have from npm and PyPI, once, into
# ${PORTCULLIS_CACHE:-~/.cache/portcullis}/clients, keyed by what is pinned here. Prints three lines: the folder that
# holds node_modules, the Node that some of it needs, and the Python interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}/clients
for tool in npm python3; do
  command -v "$tool" >/dev/null || { echo "the official MCP clients need $tool; install Node 20 and Python 3.11 or newer" >&2; exit 1; }
done
key() { sha256sum "$1" | cut -c 1-16; }
node=$cache/node-$(key "$here/package-lock.json")
python=$cache/python-$(key "$here/requirements.txt")
mkdir -p "$cache"

# One installer at a time: tests of several processes may ask at once.
exec 9>"$cache/lock"
flock 9
if [ ! -e "$node/complete" ]; then
  echo "installing what the tests have from npm (once; kept in $node)" >&2
  mkdir -p "$node"
  cp "$here/package.json" "$here/package-lock.json" "$node"
  # The Inspector, the conformance suite and oidc-provider want Node 22, which is one of the packages.
  npm ci --prefix "$node" --ignore-scripts --engine-strict=false --no-audit --no-fund --loglevel=error >&2
  touch "$node/complete"
fi
if [ ! -e "$python/complete" ]; then
  echo "installing the official Python client (once; kept in $python)" >&2
  python3 -m venv --clear "$python"
  "$python/bin/pip" install --quiet --no-deps --requirement "$here/requirements.txt" >&2
  touch "$python/complete"
fi
echo "$node"
echo "$node/node_modules/.bin/node"
echo "$python/bin/python"
