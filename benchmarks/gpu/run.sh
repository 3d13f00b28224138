#!/usr/bin/env bash
# Builds krserve on a bare GPU machine, checks it there and measures it: benchmarks/gpu/run.sh [--out DIR] [--quick]
# [--only SECTION,...] [--device cuda|cpu]. Needs CUDA, gcc, CMake, ninja or make, and Python (with torch and transformers for
# the peer); the libraries come from .gpu-deps (benchmarks/gpu/pack.sh). A part that fails does not stop the others; the exit
# status is 0 only when none failed. Results: DIR/results.json, DIR/table.txt and DIR/run.log; one JSON for each part in
# build/gpu/json, one log in build/gpu/logs.
set -uo pipefail
cd "$(dirname "$0")/../.."

readonly SECTIONS=(build parity engine sanitizer roofline bench peer ablate blit load peer_small)
readonly WORK=build/gpu  # relative: the results name the commands
readonly BUILD=$WORK/build BIN=$WORK/build/bin MODELS=$WORK/models JSON=$WORK/json LOGS=$WORK/logs
readonly CONFIG=benchmarks/gpu/gpu.yaml
readonly PYTHON=${PYTHON:-python3}
readonly BUILD_SECONDS=$((4800 / $(nproc)))
readonly PEER_SECONDS=240        # the compiler needs 85 on 16 cores, 30 from its cache; more if its first choice of attention is wrong
readonly PEER_SMALL_SECONDS=150  # the same, not compiled before; left out of a whole run that has no more time for it
OUT=$WORK/out DEVICE=cuda QUICK=no ONLY=()

usage() {
  echo "usage: benchmarks/gpu/run.sh [--out DIR] [--quick] [--only SECTION,...] [--device cuda|cpu]; sections: ${SECTIONS[*]}" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --quick) QUICK=yes ;;
    --out | --only | --device)
      [ $# -gt 1 ] || usage
      case $1 in
        --out) OUT=$2 ;;
        --only) IFS=, read -r -a ONLY <<<"$2" ;;
        --device) DEVICE=$2 ;;
      esac
      shift ;;
    *) usage ;;
  esac
  shift
done
[ "${#ONLY[@]}" -gt 0 ] || ONLY=("${SECTIONS[@]}")
for section in "${ONLY[@]}"; do [[ " ${SECTIONS[*]} " == *" $section "* ]] || usage; done
[[ $DEVICE == cuda || $DEVICE == cpu ]] || usage
export KRSERVE_TEST_DEVICE=$DEVICE

# The peer's compiler is warmed while we build, so its cache must be one folder for both.
export TORCHINDUCTOR_CACHE_DIR=$PWD/$WORK/inductor TORCHINDUCTOR_FX_GRAPH_CACHE=1

if [ "$QUICK" = yes ] && [ "$DEVICE" = cpu ]; then  # a dry run of the script where there is no GPU
  readonly LARGE=qwen2.5-0.5b SMALL=tiny PROMPT=32 LONG_PROMPT=64 GENERATED=8 REPEAT=2 BATCHES=(1 2)
  readonly ABLATE_BATCHES=(1 2) ABLATE_SECONDS=2 STREAM_MB=32 PEER_LAYERS=1
elif [ "$QUICK" = yes ]; then
  readonly LARGE=qwen2.5-7b SMALL=qwen2.5-0.5b PROMPT=512 LONG_PROMPT=2048 GENERATED=32 REPEAT=3 BATCHES=(1 8 64)
  readonly ABLATE_BATCHES=(1) ABLATE_SECONDS=5 STREAM_MB=256 PEER_LAYERS=0
else
  readonly LARGE=qwen2.5-7b SMALL=qwen2.5-0.5b PROMPT=512 LONG_PROMPT=2048 GENERATED=128 REPEAT=7 BATCHES=(1 8 64)
  readonly ABLATE_BATCHES=(1 32) ABLATE_SECONDS=20 STREAM_MB=1024 PEER_LAYERS=0
fi

mkdir -p "$OUT" "$JSON" "$LOGS" "$MODELS"
exec > >(tee -a "$OUT/run.log") 2>&1
failures=()
background=""
peer=(benchmarks/peers/transformers/bench.py --device "$DEVICE" --layers "$PEER_LAYERS" --prompt-tokens "$PROMPT"
  --gen-tokens "$GENERATED" --repeat "$REPEAT")

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

failed() {
  failures+=("$1")
  say "FAILED  $*"
}

# step NAME SECONDS COMMAND...: runs it with that time at most; its output goes to a log, of a failure's the end is shown.
step() {
  local name=$1 budget=$2 started=$SECONDS status
  shift 2
  timeout -k 10 "$budget" "$@" >"$LOGS/$name.log" 2>&1 </dev/null
  status=$?
  if [ "$status" -eq 0 ]; then
    say "ok      $name ($((SECONDS - started)) s)"
    return 0
  fi
  tail -n 30 "$LOGS/$name.log" | sed 's/^/          | /'
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    failed "$name" "(stopped: over its $budget s)"
  else
    failed "$name" "(status $status after $((SECONDS - started)) s; build/gpu/logs/$name.log)"
  fi
  return 1
}

# The same for a GoogleTest program, which also passes when it ran nothing.
suite() {
  local name=$1 ran
  step "$@" || return 1
  ran=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\?\..*/\1/p' "$LOGS/$name.log" | tail -n 1)
  if [ "${ran:-0}" -eq 0 ]; then
    failed "$name" "(no test ran)"
    return 1
  fi
  say "        $ran tests passed$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) tests\?.*/, \1 skipped/p' "$LOGS/$name.log" | head -n 1)"
}

have() { command -v "$1" >/dev/null 2>&1; }

# "90a" for compute capability 9.0: the tuned kernels of Hopper and newer need the variant with "a".
architectures() {
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | sort -u |
    awk '{ printf "%s%s%s", (NR > 1 ? ";" : ""), $1, ($1 >= 90 ? "a" : "") }'
}

unpack() {
  local file
  rm -rf "$WORK/deps"
  for file in .gpu-deps/*.deb; do
    [ -e "$file" ] || { say "no .gpu-deps: the system's libraries are used"; return; }
    if have dpkg; then
      dpkg -x "$file" "$WORK/deps" || return 1
    else
      "$PYTHON" benchmarks/gpu/unpack_deb.py "$file" "$WORK/deps" || return 1
    fi
  done
}

configure() {
  local options=(-DCMAKE_BUILD_TYPE=Release -DKRSERVE_SERVER=OFF -DKRSERVE_CRATES=OFF -DKRSERVE_BENCHMARKS=ON
    -DKRSERVE_WERROR=OFF  # gcc 13 warns within fmt 9
    "-DCMAKE_PREFIX_PATH=$PWD/$WORK/deps/usr"
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5)  # CMake 4 refuses what the packages' files ask for
  have ninja && options+=(-G Ninja)
  have ccache && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  if [ "$DEVICE" = cuda ]; then
    have nvcc || [ ! -x /usr/local/cuda/bin/nvcc ] || options+=(-DCMAKE_CUDA_COMPILER=/usr/local/cuda/bin/nvcc)
    options+=(-DKRSERVE_CUDA=ON "-DKRSERVE_CUDA_ARCHITECTURES=$(architectures)")
  else
    options+=(-DKRSERVE_CUDA=OFF)
  fi
  step configure 60 cmake -S . -B "$BUILD" "${options[@]}"
}

# Names of the tests that run on the chosen device; a test, its program and its target share one name.
device_tests() { ctest --test-dir "$BUILD" -N -L '^cuda$' | sed -n 's/^ *Test *#[0-9]*: \([A-Za-z0-9_.-]*\).*/\1/p'; }

section_build() {
  local tests
  unpack || failed unpack
  configure || return
  step build-krserve "$BUILD_SECONDS" cmake --build "$BUILD" --parallel "$(nproc)" --target krserve || return
  beside_the_build >"$LOGS/beside-the-build.log" 2>&1 &
  background=$!
  mapfile -t tests < <(device_tests)
  step build-tests "$BUILD_SECONDS" cmake --build "$BUILD" --parallel "$(nproc)" --target "${tests[@]}" blit_bench op_bench
}

# What takes long and measures nothing: weights, and the peer's compiler, which keeps what it makes.
beside_the_build() {
  synthesize "$SMALL"
  synthesize "$LARGE"
  [[ " ${ONLY[*]} " == *" peer "* ]] || return 0
  timeout -k 10 "$PEER_SECONDS" "$PYTHON" "${peer[@]}" --model "$MODELS/$LARGE" --compile-only
}

# Nothing else runs beside a measurement.
settle() {
  [ -z "$background" ] || wait "$background"
  background=""
}

# Weights of the shape, unless they are there.
synthesize() { [ -e "$MODELS/$1/config.json" ] || "$BIN/krserve" synth --shape "$1" --bits 4 --out "$MODELS/$1"; }

models() {
  local shape
  settle
  for shape in "$SMALL" "$LARGE"; do
    synthesize "$shape" >"$LOGS/synth-$shape.log" 2>&1 || failed "synth-$shape" "(build/gpu/logs/synth-$shape.log)"
  done
}

parity_filter() { if [ "$DEVICE" = cuda ]; then echo '*Cuda*'; else echo '*Cpu2*'; fi; }

section_parity() { suite parity 60 "$BIN/parity_test" "--gtest_filter=$(parity_filter)"; }

section_engine() {
  local name
  for name in $(device_tests); do
    [ "$name" = parity_test ] || suite "$name" 120 "$BIN/$name"
  done
}

section_sanitizer() {
  local tool sanitizer
  if [ "$DEVICE" = cpu ]; then say "sanitizer: left out, it looks at CUDA kernels"; return; fi
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  for tool in memcheck racecheck; do
    suite "$tool" 120 "$sanitizer" --tool "$tool" --error-exitcode 9 \
      "$BIN/parity_test" "--gtest_filter=$(parity_filter)${SANITIZER_LEAVES_OUT:+-$SANITIZER_LEAVES_OUT}"
  done
}

# bench NAME SECONDS SHAPE ARGUMENTS...
bench() {
  local name=$1 budget=$2 shape=$3
  shift 3
  rm -f "$JSON/$name.json"
  step "$name" "$budget" "$BIN/krserve" bench --device "$DEVICE" --config "$CONFIG" -m "$MODELS/$shape" \
    --json "$JSON/$name.json" "$@"
}

# Each part of a step by itself, beside the read rate.
section_roofline() {
  local shape
  settle
  for shape in "$SMALL" "$LARGE"; do
    [ "$shape" = tiny ] && continue
    rm -f "$JSON/roofline-$shape.json"
    step "roofline-$shape" 60 "$BIN/op_bench" --device "$DEVICE" --shape "$shape" --rows "$(IFS=,; echo "${BATCHES[*]}")" \
      --prefill "$LONG_PROMPT" --json "$JSON/roofline-$shape.json"
  done
}

section_bench() {
  local batch
  models
  for batch in "${BATCHES[@]}"; do
    bench "decode-large-b$batch" 60 "$LARGE" --mode decode --batch "$batch" --prompt-tokens "$PROMPT" \
      --gen-tokens "$GENERATED" --repeat "$REPEAT"
  done
  bench decode-small-b1 60 "$SMALL" --mode decode --prompt-tokens "$PROMPT" --gen-tokens "$GENERATED" --repeat "$REPEAT"
  bench prefill-large 60 "$LARGE" --mode prefill --prompt-tokens "$LONG_PROMPT" --repeat "$REPEAT"
  bench prefill-small 60 "$SMALL" --mode prefill --prompt-tokens "$LONG_PROMPT" --repeat "$REPEAT"
}

section_peer() {
  models
  rm -f "$JSON/peer-large.json"
  step peer-large "$PEER_SECONDS" "$PYTHON" "${peer[@]}" --model "$MODELS/$LARGE" --json "$JSON/peer-large.json" \
    --max-seconds $((PEER_SECONDS - 60))
}

section_peer_small() {
  models
  rm -f "$JSON/peer-small.json"
  if [ "${#ONLY[@]}" -eq "${#SECTIONS[@]}" ] && [ $((SECONDS + PEER_SMALL_SECONDS)) -gt 530 ]; then
    say "peer_small: left out, $SECONDS s of 540 are over"
    return
  fi
  step peer-small "$PEER_SMALL_SECONDS" "$PYTHON" "${peer[@]}" --model "$MODELS/$SMALL" --json "$JSON/peer-small.json" \
    --max-seconds $((PEER_SMALL_SECONDS - 40))
}

section_ablate() {
  local batch
  models
  for batch in "${ABLATE_BATCHES[@]}"; do
    bench "ablate-large-b$batch" 90 "$LARGE" --mode ablate --batch "$batch" --prompt-tokens "$PROMPT" \
      --gen-tokens 64 --repeat 5 --max-seconds "$ABLATE_SECONDS"
    bench "ablate-small-b$batch" 60 "$SMALL" --mode ablate --batch "$batch" --prompt-tokens "$PROMPT" \
      --gen-tokens 64 --repeat 5 --max-seconds "$ABLATE_SECONDS"
  done
}

section_blit() {
  models
  rm -f "$JSON/blit-large.json"
  step blit-large 60 "$BIN/blit_bench" --mode kv --device "$DEVICE" --model "$MODELS/$LARGE" --stream-mb "$STREAM_MB" \
    --steps 100 --repeats 5 --json "$JSON/blit-large.json"
}

section_load() {
  models
  cat "$MODELS/$LARGE"/*.safetensors >/dev/null  # into the page cache
  bench load-large 60 "$LARGE" --mode load --repeat 3
}

report() { "$PYTHON" benchmarks/gpu/report.py --json "$JSON" --out "$OUT"; }

say "krserve on $DEVICE: ${ONLY[*]}"
[ "$DEVICE" = cpu ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
for section in "${ONLY[@]}"; do
  "section_$section"
  report >"$OUT/table.txt" 2>&1  # after each: what there is survives a machine that is taken away
done
settle
cat "$OUT/table.txt"
if [ "${#failures[@]}" -gt 0 ]; then
  say "${#failures[@]} failed: ${failures[*]}"
  exit 1
fi
say "nothing failed"
