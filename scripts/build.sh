#!/usr/bin/env bash
# Configures and builds a preset: scripts/build.sh release [target...]. The Rust crate is compiled once for all presets.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
launcher=$(command -v ccache || true)
options=("-DKRSERVE_CARGO_TARGET_DIR=$PWD/build/cargo")
# What a source depends on comes from its compilation, without a run of the preprocessor before it. The tests'
# precompiled header needs the sloppiness, or ccache leaves them alone.
export CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros
[ -z "$launcher" ] || options+=("-DCMAKE_CXX_COMPILER_LAUNCHER=$launcher" "-DCMAKE_C_COMPILER_LAUNCHER=$launcher")
# -O0 and clang keep the sanitizer builds short: UBSan's checks take clang three times as long at -O1, and g++ twice
# clang's time. Kernels have options of their own.
if [[ $preset = [at]san ]]; then
  options+=("-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O0 -g1")
  ! command -v clang++-19 >/dev/null || options+=("-DCMAKE_C_COMPILER=clang-19" "-DCMAKE_CXX_COMPILER=clang++-19")
fi
if [ "$(uname -s)" = Darwin ]; then options+=("-DCMAKE_PREFIX_PATH=$(brew --prefix)"); fi

cmake --preset "$preset" "${options[@]}"
targets=()
[ $# -eq 0 ] || targets=(--target "$@")
# The bash of macOS is 3.2, where an empty array counts as unset.
exec cmake --build --preset "$preset" --parallel "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" ${targets[@]+"${targets[@]}"}
