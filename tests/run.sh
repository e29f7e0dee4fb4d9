#!/usr/bin/env bash
# Runs all tests in two lanes at a time, and prints how long each step took. Usage: run.sh
# Most tests wait: for an API server, a kubelet, a browser. So one lane leaves a good part of two cores idle.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# These need a node, or the programs that ship. The last one is there so that both lanes take about the same time.
node=(node front chart agent attacks)
# These need an API server or a browser. They take longest, so they begin first.
waiting=(cluster sign_in)
light=()
shopt -s nullglob
for test in tests/*.rs tests/*/main.rs; do
  name=${test#tests/}
  name=${name%.rs}
  name=${name%/main}
  [[ " ${node[*]} ${waiting[*]} " == *" $name "* ]] || light+=("$name")
done

timed() { bash tests/timed.sh "$@"; }
run() { # step, test…
  local step=$1
  shift
  timed "$step" cargo test --locked --package portcullis "${@/#/--test=}"
}

node_lane() {
  # The programs that ship take minutes to link, on one core.
  [ "${CI:-}" != true ] || timed "build of what ships" bash tests/node/static.sh || return
  local failed=0
  for name in "${node[@]}"; do run "$name" "$name" || failed=1; done
  return "$failed"
}

other_lane() {
  local failed=0
  for name in "${waiting[@]}"; do run "$name" "$name" || failed=1; done
  timed "unit tests" cargo test --locked --workspace --lib --bins || failed=1
  run "tests of the program" "${light[@]}" || failed=1
  return "$failed"
}

timed "build of the tests" cargo test --locked --workspace --no-run
set -m # a process group of its own, which can be ended as a whole
(set -o pipefail; node_lane 2>&1 | sed --unbuffered 's/^/node lane: /') &
set +m
lane=$!
trap 'kill -- "-$lane" 2>/dev/null || true' EXIT
failed=0
other_lane || failed=1
wait "$lane" || failed=1
trap - EXIT
exit "$failed"
