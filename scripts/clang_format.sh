#!/usr/bin/env bash
# clang-format 19 over the files named, or over all tracked C++ files: --check only complains, --fix rewrites.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-}
shift || true
case $mode in
  --check) flags=(--dry-run --Werror) ;;
  --fix) flags=(-i) ;;
  *) echo "usage: scripts/clang_format.sh --check|--fix [file...]" >&2; exit 2 ;;
esac

tool=$(command -v clang-format-19 || true)
if [ -z "$tool" ] && command -v brew >/dev/null; then tool="$(brew --prefix llvm)/bin/clang-format"; fi
if [ ! -x "$tool" ]; then echo "clang-format-19 is missing: make setup" >&2; exit 1; fi

files=("$@")
if [ "${#files[@]}" -eq 0 ]; then
  # No mapfile: the bash of macOS is 3.2.
  while IFS= read -r file; do files+=("$file"); done < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' '*.mm' '*.metal')
fi
[ "${#files[@]}" -eq 0 ] || "$tool" --style=file "${flags[@]}" "${files[@]}"
