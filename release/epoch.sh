# Sourced. Sets what every file of a release is dated by: the time of the commit, so that a second build makes the same
# bytes (https://reproducible-builds.org/specs/source-date-epoch).
# shellcheck shell=bash
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$(dirname "${BASH_SOURCE[0]}")" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
