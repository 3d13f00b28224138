#!/usr/bin/env bash
# Prints the path of promtool, Prometheus' checker of rules: $PROMTOOL, the one on PATH, or the copy in build/tools.
# With `install` it makes that copy if there is none yet: out of Debian's package, so that no server gets installed
# (19 MB to download), or by brew.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly COPY=$PWD/build/tools/promtool

find_promtool() {
  if [ -n "${PROMTOOL:-}" ]; then echo "$PROMTOOL"
  elif command -v promtool; then :
  elif [ -x "$COPY" ]; then echo "$COPY"
  else return 1; fi
}

unpack_debian() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && apt-get -q -o APT::Sandbox::User=root download prometheus >&2)
  mkdir -p "$(dirname "$COPY")"
  dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -O ./usr/bin/promtool >"$COPY.new"
  chmod 755 "$COPY.new"
  mv "$COPY.new" "$COPY"
}

if ! find_promtool; then
  [ "${1:-}" = install ] || { echo "promtool is not here; scripts/promtool.sh install gets it" >&2; exit 1; }
  if [ "$(uname -s)" = Darwin ]; then brew install prometheus >&2; else unpack_debian; fi
  find_promtool
fi
