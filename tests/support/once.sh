# Sourced by the scripts that build or install a tool of the tests once, into ${PORTCULLIS_CACHE:-~/.cache/portcullis},
# outside the checkout. Nothing is installed on the machine, and nothing here needs root.
# shellcheck shell=bash
# shellcheck disable=SC2034 # for those who source this
cache=${PORTCULLIS_CACHE:-$HOME/.cache/portcullis}

# One builder at a time: tests of several processes may ask at once. The lock lasts until the script ends.
only_one() { # folder, which is made
  mkdir -p "$1"
  exec 9>"$1.lock"
  flock 9
}

# The version that a committed go.mod pins.
version_of() { # folder with go.mod, module
  sed -nE "s#^(require )?[[:space:]]*$2 (v[^ ]+).*#\2#p" "$1/go.mod" | head -n 1
}

# CGO_ENABLED=1 and what it needs may be given in the environment.
go_build() { # folder with go.mod, output, package, flags of `go build`…
  local folder=$1 output=$2 package=$3 seconds=$SECONDS
  shift 3
  [ -x "$output" ] && return
  echo "building ${output##*/} (once; kept in ${output%/*})" >&2
  mkdir -p "${output%/*}"
  (cd "$folder" && CGO_ENABLED=${CGO_ENABLED:-0} GOFLAGS="-buildvcs=false -mod=readonly" \
    go build -trimpath "$@" -o "$output.partial" "$package" >&2)
  mv "$output.partial" "$output"
  echo "built ${output##*/} in $((SECONDS - seconds)) s" >&2
}

# Kubernetes' commands say their version by what the linker is told.
go_build_kubernetes() { # folder with go.mod, output; the output's name is the command's
  local version minor
  version=$(version_of "$1" k8s.io/kubernetes)
  minor=${version#v1.}
  local stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1"
  go_build "$1" "$2" "k8s.io/kubernetes/cmd/${2##*/}" \
    -ldflags "-s -w $stamp -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
}

# Debian's name of this release; nothing on other systems.
debian_release() {
  # shellcheck source=/dev/null
  (. /etc/os-release 2>/dev/null && command -v apt-get >/dev/null && echo "${VERSION_CODENAME:-}")
}

# Unpacks Debian packages and, of what they need, what this machine lacks, into FOLDER/root. Debian keeps one version of
# a package per release, so the release is what is pinned.
unpack_debian() { # folder, package…
  local folder=$1
  shift
  rm -rf "$folder/root" "$folder/apt"
  mkdir -p "$folder/root" "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/apt/debs"
  local apt=(apt-get -q -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt" -o Debug::NoLocking=1 -o APT::Sandbox::User=)
  "${apt[@]}" update >&2
  local packages
  mapfile -t packages < <("${apt[@]}" install --simulate --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  (cd "$folder/apt/debs" && "${apt[@]}" download "${packages[@]}" >&2)
  local package
  for package in "$folder"/apt/debs/*.deb; do dpkg -x "$package" "$folder/root"; done
  rm -rf "$folder/apt"
}

# Writes a command that runs an unpacked program with the unpacked libraries.
debian_command() { # folder, program below FOLDER/root, output
  local libraries
  libraries=$(find "$1/root" -name '*.so*' -printf '%h\n' | grep -v /usr/lib/chromium | sort -u | paste -s -d :)
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$1/root/$2" >"$3"
  chmod +x "$3"
}
