#!/usr/bin/env bash
# Installs the agent frameworks that the tests have from PyPI, once, into ${PORTCULLIS_CACHE:-~/.cache/portcullis}/clients,
# keyed by what is pinned here. Prints the Python interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}/clients
command -v python3 >/dev/null || { echo "the agent frameworks need Python 3.11 or newer" >&2; exit 1; }
python=$cache/frameworks-$(sha256sum "$here/frameworks.txt" | cut -c 1-16)
mkdir -p "$cache"

# One installer at a time: tests of several processes may ask at once.
exec 9>"$cache/frameworks.lock"
flock 9
if [ ! -e "$python/complete" ]; then
  echo "installing agent frameworks (once; kept in $python)" >&2
  python3 -m venv --clear "$python"
  "$python/bin/pip" install --quiet --no-deps --requirement "$here/frameworks.txt" >&2
  touch "$python/complete"
fi
echo "$python/bin/python"
