#!/usr/bin/env bash
# Fetches the libraries that a bare GPU machine lacks, as Debian 12 packages, into .gpu-deps (git-ignored, about 2 MB).
# Run it on Debian 12 with a network; benchmarks/gpu/run.sh unpacks them.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Development files, and the shared libraries that programs need when they run.
readonly PACKAGES=(libfmt-dev libfmt9 libspdlog-dev libspdlog1.10 nlohmann-json3-dev libyaml-cpp-dev
  libyaml-cpp0.7 libcli11-dev libgtest-dev libgmock-dev)
readonly FOLDER=$PWD/.gpu-deps

. /etc/os-release
[ "${ID:-} ${VERSION_ID:-}" = "debian 12" ] ||
  { echo "pack: this is ${PRETTY_NAME:-not Debian}; the package names are those of Debian 12" >&2; exit 1; }
mkdir -p "$FOLDER"
rm -f "$FOLDER"/*.deb
cd "$FOLDER"
apt-get download -qq "${PACKAGES[@]}"
# "1%3a1.10.deb": an epoch in a name would have to be quoted everywhere.
for file in *%*.deb; do mv "$file" "$(sed "s/_[0-9]*%3a/_/" <<<"$file")"; done
for file in *.deb; do
  printf 'pack: %s %s (%s)\n' "$(dpkg-deb -f "$file" Package)" "$(dpkg-deb -f "$file" Version)" \
    "$(dpkg-deb -f "$file" Architecture)"
done | tee VERSIONS
sha256sum ./*.deb >SHA256SUMS
printf 'pack: %s in .gpu-deps\n' "$(du -sh . | cut -f1)"
