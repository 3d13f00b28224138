#!/usr/bin/env bash
# Builds the Python package with the release build's flags and installs it into build/python-venv, for tests/python:
#   scripts/python_package.sh [python3.12]
# The objects of the C++ library come from ccache when the release build has made them.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:-.venv/bin/python}
venv=${KRSERVE_PYTHON_VENV:-build/python-venv}
if ! "$venv/bin/python" -c '' 2>/dev/null; then "$python" -m venv --clear "$venv"; fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check -q)
"${pip[@]}" install -r tests/python/requirements.txt

# CMake's own choice, which ccache tells from another name of the same compiler (scikit-build-core takes Python's).
export CC=${CC:-cc} CXX=${CXX:-c++}
launcher=$(command -v ccache || true)
if [ -n "$launcher" ]; then
  export CCACHE_DEPEND=1  # as scripts/build.sh does
  export CMAKE_CXX_COMPILER_LAUNCHER=$launcher CMAKE_C_COMPILER_LAUNCHER=$launcher
fi
export CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
options=(-C "cmake.define.KRSERVE_CARGO_TARGET_DIR=$PWD/build/cargo" -C cmake.define.KRSERVE_WERROR=ON)
if [ "$(uname -s)" = Darwin ]; then options+=(-C "cmake.define.CMAKE_PREFIX_PATH=$(brew --prefix)"); fi
"${pip[@]}" install --force-reinstall --no-deps --no-build-isolation "${options[@]}" .
