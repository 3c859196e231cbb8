#!/bin/bash
# packages_test.sh TOOLS_PACKAGES: what ensure_packages does where packages are missing, with and without root. dpkg-query,
# apt-get, id and sudo are stand-ins here: MISSING, LACKING (what apt-get does not have), USER_ID and SUDO say what they answer.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stand_in() { printf '#!/bin/bash\n%s\n' "$2" >"$work/$1" && chmod +x "$work/$1"; }
stand_in dpkg-query '[[ " $MISSING " == *" ${@: -1} "* ]] || echo "install ok installed"'
stand_in id 'echo "$USER_ID"'
stand_in sudo '[ "$SUDO" = yes ] || exit 1; [ "$1" != -n ] || shift; exec "$@"'
stand_in apt-get 'echo "$*" >>"$CALLS"; for word in $LACKING; do [[ " $* " != *" $word "* ]] || exit 100; done'
export PATH=$work:$PATH CALLS=$work/calls

failed=0
# expect NAME STATUS TEXT INSTALLED: its status, a piece of what it says, and what apt-get was last asked to install.
expect() {
  local said status installed
  : >"$CALLS"
  said=$(. "$packages" && ensure_packages 2>&1)
  status=$?
  installed=$(grep '^install' "$CALLS" | tail -n 1 | sed 's/.*--no-install-recommends *//')
  if [ "$status" != "$2" ] || [[ "$said" != *"$3"* ]] || [ "$installed" != "$4" ]; then
    echo "$1: status $status, installed \"$installed\", said: $said"
    failed=1
  fi
}
packages=$1
export MISSING= LACKING= USER_ID=1000 SUDO=no
expect "nothing missing" 0 "" ""
MISSING="pkgconf libcpp-httplib-dev"
expect "optional ones, no root" 0 "going on without libcpp-httplib-dev pkgconf: \`train --watch\` is left out" ""
SUDO=yes
expect "optional ones, root" 0 "Installing" "libcpp-httplib-dev pkgconf"
LACKING=libcpp-httplib-dev
expect "an optional one that does not exist" 0 "going on without" "libcpp-httplib-dev pkgconf"
MISSING="cmake libcpp-httplib-dev"
expect "a required one beside it" 0 "going on without libcpp-httplib-dev" "cmake"
LACKING=cmake USER_ID=0
expect "a required one that does not exist" 1 "could not install: cmake" "cmake"
MISSING=cmake
expect "the same alone" 1 "could not install: cmake" "cmake"
MISSING="cmake pkgconf" LACKING= SUDO=no USER_ID=1000
expect "a required one, no root" 1 "could not install" ""
exit $failed
