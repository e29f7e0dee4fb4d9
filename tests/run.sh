#!/usr/bin/env bash
# Runs all tests, and prints how long each step took. Usage: run.sh
# The programs that ship take minutes to link, on one core. In CI, they are built while tests run that mostly wait.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# These need a node, or the programs that ship.
heavy=(agent chart front node)
waiting=(cluster sign_in)
light=()
shopt -s nullglob
for test in tests/*.rs tests/*/main.rs; do
  name=${test#tests/}
  name=${name%.rs}
  name=${name%/main}
  [[ " ${heavy[*]} ${waiting[*]} " == *" $name "* ]] || light+=("$name")
done

timed() { bash tests/timed.sh "$@"; }
run() { # step, test…
  local step=$1
  shift
  timed "$step" cargo test --locked --package portcullis "${@/#/--test=}"
}

timed "build of the tests" cargo test --locked --workspace --no-run
shipping=
if [ "${CI:-}" = true ]; then
  set -m # a process group of its own, which can be ended as a whole
  nice -n 10 bash tests/timed.sh "build of what ships" bash tests/node/static.sh &
  set +m
  shipping=$!
  trap 'kill -- "-$shipping" 2>/dev/null || true' EXIT
fi
run "tests with an API server and a browser" "${waiting[@]}"
timed "unit tests" cargo test --locked --workspace --lib --bins
run "tests of the program" "${light[@]}"
[ -z "$shipping" ] || wait "$shipping"
trap - EXIT
run "tests with a node" "${heavy[@]}"
