#!/usr/bin/env bash
# Runs a command, and prints how long it took. Usage: timed.sh NAME COMMAND…
name=$1
shift
"$@"
code=$?
echo "$name: $SECONDS s$([ $code = 0 ] || echo ", failed with exit code $code")"
exit $code
