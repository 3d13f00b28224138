#!/usr/bin/env bash
# Every check and test, stage by stage; a failure does not stop the stages after it.
# The last line is "N passed, N failed" over all of them; the exit status is 0 only when nothing failed.
# Arguments pick stages: scripts/run_tests.sh checks tooling
set -uo pipefail
cd "$(dirname "$0")/.."

readonly RESULTS=$PWD/build/test-results
readonly SANITIZED='runtime engine device parity'  # labels of the suites that run under sanitizers
readonly STAGES=(checks tooling release program python typescript mlx bare mac cuda metal metal3 asan tsan)
# Use one core most of the time: those that follow each other are a lane, which runs beside the stages after them.
readonly BESIDE=' program python typescript mlx metal3 '

# setup.sh put a Node there where the system's is too old.
[ ! -x .venv/bin/node ] || export PATH=$PWD/.venv/bin:$PATH

started=$SECONDS
stage_folder=""

begin() {
  stage_folder=$RESULTS/$1
  rm -rf "$stage_folder"
  mkdir -p "$stage_folder/gtest"
  printf '\n=== %s (after %d s)\n' "$2" $((SECONDS - started))
}

# The stage could not run; counted as a failure by count_results.py.
give_up() { printf '%s\n' "$*" | tee "$stage_folder/error"; }

# The stage has nothing to do on this machine; it is not counted.
leave_out() {
  printf 'not run: %s\n' "$*"
  rm -rf "$stage_folder"
}

stage_checks() {
  begin 01-checks "checks (pre-commit)"
  .venv/bin/pre-commit run --all-files --color never >"$stage_folder/pre-commit.log" 2>&1 ||
    grep -q 'Failed$' "$stage_folder/pre-commit.log" || give_up "pre-commit did not run"
  cat "$stage_folder/pre-commit.log"
}

stage_tooling() {
  begin 02-tooling "tests of the checks"
  run_pytest tests/tooling
}

# pytest ($PYTEST) over each folder, one process each: their helper modules share names.
run_pytest() {
  local folder results status
  for folder in "$@"; do
    results=$stage_folder/junit-${folder//\//-}.xml
    status=0
    "${PYTEST:-.venv/bin/pytest}" -q -p no:cacheprovider --junitxml "$results" "$folder" || status=$?
    [ -s "$results" ] || give_up "pytest left no results of $folder"
    [ "$status" -ne 5 ] || give_up "$folder has no tests"  # or a stage could run nothing and pass
  done
}

# ctest in build/$1 with the arguments after it; each GoogleTest program writes its single results too.
run_ctest() {
  local preset=$1
  shift
  GTEST_OUTPUT="xml:$stage_folder/gtest/" ctest --preset "$preset" --no-tests=error \
    --parallel "${JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
    --output-junit "$stage_folder/ctest.xml" "$@"
  [ -s "$stage_folder/ctest.xml" ] || give_up "ctest left no results"
}

stage_release() {
  begin 03-release "release build and all C++ tests"
  if scripts/build.sh release; then run_ctest release; else give_up "the release build failed"; fi
}

has_program() { [ -x build/release/bin/krserve ] || { give_up "build/release/bin/krserve is not there"; return 1; }; }

stage_program() {
  begin 04-program "the real program: HTTP, JSON-RPC, models of a hub, krserve top"
  has_program && run_pytest tests/http tests/rpc tests/hub
}

stage_mlx() {
  begin 07-mlx "parity with MLX"
  has_program && run_pytest tests/mlx
}

stage_python() {
  begin 05-python "Python package"
  has_program || return
  if scripts/python_package.sh; then PYTEST=build/python-venv/bin/pytest run_pytest tests/python; else give_up "the Python package was not built"; fi
}

stage_typescript() {
  begin 06-typescript "npm package and its benchmark"
  has_program || return
  (cd clients/typescript && npx vitest run --reporter=default --reporter=junit --outputFile="$stage_folder/junit-vitest.xml")
  [ -s "$stage_folder/junit-vitest.xml" ] || give_up "vitest left no results"
  run_pytest tests/benchmarks
}

# The build of a machine without cargo and Boost: another engine suite, the same golden tests.
stage_bare() {
  begin 08-bare "build without server and crates: engine and text suites"
  local targets=(krserve engine_tests text_test)
  if scripts/build.sh bare "${targets[@]}"; then run_ctest bare -R '^(engine_tests|text_test)$'; else give_up "the bare build failed"; fi
}

# The program of a Mac, built but not run: see tests/mach_o/toolchain.cmake.
stage_mac() {
  begin 09-mac "compile and link for macOS"
  if [ "$(uname -s)" = Darwin ]; then leave_out "this is a Mac: the release build is the real thing"; return; fi
  run_pytest tests/mach_o
}

# The release build compiles the CUDA back end wherever there is an nvcc; this runs it where there is a GPU.
stage_cuda() {
  begin 10-cuda "suites on a CUDA device"
  if ! compgen -G 'build/release/CMakeFiles/*/CMakeCUDACompiler.cmake' >/dev/null; then
    leave_out "the CUDA back end was not compiled: no nvcc of CUDA 12.4 or newer found, or no release build"
  elif ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
    leave_out "compiled, but there is no NVIDIA GPU on this machine (benchmarks/gpu/run.sh runs the suites on one)"
  else
    KRSERVE_TEST_DEVICE=cuda run_ctest release -L '^cuda$'
  fi
}

# The whole program with the Metal back end, on the model of Metal.
stage_metal() {
  begin 11-metal "program and engine on a model of Metal"
  if ! scripts/build.sh metal-sim krserve engine_tests golden_tests; then give_up "the metal-sim build failed"; return; fi
  # Beside each other: both use one core most of the time.
  KRSERVE_TEST_DEVICE=metal KR_METAL_SIM=macos=26,seed=1 run_ctest metal-sim -R '^(engine_tests|golden_tests)$' \
    >"$stage_folder/ctest.log" 2>&1 &
  local suites=$!
  run_pytest tests/metal
  wait "$suites"
  cat "$stage_folder/ctest.log"
}

# The older path.
stage_metal3() {
  begin 12-metal3 "engine on a model of Metal 3"
  if [ ! -x build/metal-sim/bin/engine_tests ]; then give_up "build/metal-sim/bin/engine_tests is not there"; return; fi
  KRSERVE_TEST_DEVICE=metal KR_METAL_SIM=macos=15,seed=2 run_ctest metal-sim -R '^(engine_tests|golden_tests)$'
}

# Names of the tests with label $2 in build/$1; a test, its program and its target share one name.
tests_with_label() {
  ctest --test-dir "build/$1" -N -L "^$2\$" | sed -n 's/^ *Test *#[0-9]*: \([A-Za-z0-9_.-]*\).*/\1/p'
}

sanitized() {
  local preset=$1 label name names targets=()
  # Configured first, because only then ctest knows what there is; `help` builds nothing.
  scripts/build.sh "$preset" help >"$stage_folder/configure.log" 2>&1 ||
    { cat "$stage_folder/configure.log"; give_up "configuring $preset failed"; return; }
  for label in $SANITIZED; do
    names=$(tests_with_label "$preset" "$label")
    if [ -z "$names" ]; then give_up "no test has the label $label"; return; fi
    while IFS= read -r name; do targets+=("$name"); done <<<"$names"
  done
  if scripts/build.sh "$preset" "${targets[@]}"; then
    run_ctest "$preset" -L "^(${SANITIZED// /|})\$"
  else
    give_up "the $preset build failed"
  fi
}

stage_asan() {
  begin 13-asan "runtime, engine and device suites under AddressSanitizer and UBSan"
  sanitized asan
}

stage_tsan() {
  begin 14-tsan "runtime, engine and device suites under ThreadSanitizer"
  # Sums beside a reference take minutes here and have no second thread to find.
  GTEST_FILTER='-*NearTheReference*:*ARowDoesNotDependOn*' sanitized tsan
}

chosen=("$@")
[ "${#chosen[@]}" -gt 0 ] || chosen=("${STAGES[@]}")
for stage in "${chosen[@]}"; do
  [[ " ${STAGES[*]} " == *" $stage "* ]] || { echo "no stage $stage; there are ${STAGES[*]}" >&2; exit 2; }
done
run_each() {
  local stage
  for stage in "$@"; do "stage_$stage"; done
}

rm -rf "$RESULTS"
mkdir -p "$RESULTS"
lane=() running=()
trap 'for pid in ${running[@]+"${running[@]}"}; do kill -- -"$pid" 2>/dev/null; done; exit 130' INT TERM
for stage in "${chosen[@]}"; do
  if [[ $BESIDE == *" $stage "* ]]; then lane+=("$stage"); continue; fi
  if [ "${#lane[@]}" -gt 0 ]; then
    # Job control: without it a background job ignores Ctrl-C, and so do the programs that the tests press it on.
    set -m
    run_each "${lane[@]}" >"$RESULTS/beside-${lane[0]}.log" 2>&1 </dev/null &
    running+=($!)
    set +m
    lane=()
  fi
  "stage_$stage"
done
run_each ${lane[@]+"${lane[@]}"}
wait
cat "$RESULTS"/beside-*.log 2>/dev/null
printf '\n=== summary (%d s)\n' $((SECONDS - started))
exec python3 scripts/count_results.py "$RESULTS"
