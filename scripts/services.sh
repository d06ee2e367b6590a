#!/usr/bin/env bash
# System packages and services that some tests need and npm cannot bring.
#   scripts/services.sh install [name…]   install (idempotent)
#   scripts/services.sh start   [name…]   start
#   scripts/services.sh stop    [name…]   stop
#   scripts/services.sh list              names, one a line
# A service is three functions: install_<name>, start_<name>, stop_<name>. Without names: all of them.
# `npm test` needs none of them: a test that misses its service says so and is skipped, except in CI.
set -euo pipefail

# Names in the order they are installed and started. None so far.
services=()

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_install PACKAGE…: installs what is missing, and touches the network only then.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

usage() {
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  exit 2
}

action="${1:-}"
[ "$#" -gt 0 ] && shift
case "$action" in
  list) printf '%s\n' ${services[@]+"${services[@]}"} ;;
  install | start | stop)
    wanted=("$@")
    [ "${#wanted[@]}" -eq 0 ] && wanted=(${services[@]+"${services[@]}"})
    for name in ${wanted[@]+"${wanted[@]}"}; do
      if ! declare -F "${action}_${name}" >/dev/null; then
        echo "services.sh: unknown service \"$name\"; known: ${services[*]-none}" >&2
        exit 2
      fi
      echo "$action $name"
      "${action}_${name}"
    done
    ;;
  *) usage ;;
esac
