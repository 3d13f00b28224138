#!/usr/bin/env bash
# clang-tidy over src/, with the flags of the release build; arguments narrow it: scripts/lint.sh src/config
set -euo pipefail
cd "$(dirname "$0")/.."

database=build/release
[ -f "$database/compile_commands.json" ] || { echo "no $database: make build first" >&2; exit 1; }
prefix=""
command -v brew >/dev/null && prefix="$(brew --prefix llvm)/bin/"
tidy=$(command -v clang-tidy-19 || echo "${prefix}clang-tidy")
runner=$(command -v run-clang-tidy-19 || echo "${prefix}run-clang-tidy")

folders=("$@")
[ "${#folders[@]}" -gt 0 ] || folders=(src)
patterns=()
for folder in "${folders[@]}"; do patterns+=("$PWD/${folder%/}(/.*)?$"); done
# GCC's own options and precompiled headers mean nothing to clang, and its library uses what it deprecates itself.
exec "$runner" -clang-tidy-binary "$tidy" -p "$database" -quiet -j "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
  -extra-arg=-Wno-unknown-warning-option -extra-arg=-Wno-ignored-gch -extra-arg=-Wno-deprecated-declarations "${patterns[@]}"
