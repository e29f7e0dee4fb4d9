#!/usr/bin/env bash
# Removes what a node that is gone leaves behind: its end of the cable, its cgroups, then its folder. Usage: clean.sh FOLDER
set -u
# Connections that nobody answers any more keep the other end for minutes. Another node may have the name by now, but
# never the number.
if read -r name number 2>/dev/null <"$1/cable" && [ "$number" = "$(cat "/sys/class/net/$name/ifindex" 2>/dev/null)" ]; then
  ip link delete "$name"
fi
for _ in $(seq 50); do
  # Processes that are just dying may still be in one or write to the other: hence the repetition.
  find /sys/fs/cgroup -depth -type d -path "*/${1##*/}*" -exec rmdir {} + 2>/dev/null
  rm -rf -- "$1" 2>/dev/null
  [ ! -e "$1" ] && [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "${1##*/}" -print -quit)" ] && exit
  sleep 0.1
done
echo "$1 or its cgroups could not be removed" >&2
exit 1
