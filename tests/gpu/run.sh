#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, with or without a network: builds the CUDA module, runs every test that has a GPU to
# run on, then the benchmarks, and writes one JSON file and one table.
#
#   bash tests/gpu/run.sh [OUT]      results go to OUT (default: build/gpu-results): gpu.json, gpu.md, logs
#   NANOCHAT_GPU_PARTS="build test sanitize bench torch"   which parts; all but sanitize if not given
#
# Without a network the dependencies come from tests/gpu/packages: bash tests/gpu/carry.sh makes that folder on a machine
# that has one. python3 with torch and transformers is needed for the comparison with PyTorch alone.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${1:-build/gpu-results}")
parts=" ${NANOCHAT_GPU_PARTS:-build test bench torch} "
build=build/gpu
mkdir -p "$out"
failed=()

has() { [[ $parts == *" $1 "* ]]; }
part() { # NAME COMMAND...: runs it, keeps its log, remembers failures
  local name=$1 began=$SECONDS
  shift
  "$@" > "$out/$name.log" 2>&1
  local status=$?
  [ $status = 0 ] || failed+=("$name")
  echo "$name: status $status, $((SECONDS - began)) s"
}

carried=$PWD/tests/gpu/packages
if [ -d "$carried" ]; then
  libraries=$carried/usr/lib/x86_64-linux-gnu
  export CPATH=$carried/usr/include LIBRARY_PATH=$libraries LD_LIBRARY_PATH=$libraries:${LD_LIBRARY_PATH:-}
  export PATH=$carried/usr/bin:$PATH PKG_CONFIG_PATH=$libraries/pkgconfig:$carried/usr/share/pkgconfig
  export PKG_CONFIG_SYSROOT_DIR=$carried CMAKE_PREFIX_PATH=$carried/usr
else
  . tests/packages.sh
  install_packages g++ cmake ninja-build pkg-config libzstd-dev libutf8proc-dev libpcre2-dev nlohmann-json3-dev \
    libxxhash-dev libcli11-dev libpng-dev libturbojpeg0-dev libgtest-dev libbenchmark-dev || exit 1
fi
export PATH=$PATH:/usr/local/cuda/bin

build_all() {
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNANOCHAT_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native &&
    cmake --build "$build" -j "$(nproc)" --target nanochat nanochat_cli nanochat_cuda unit_kernels unit_model \
      unit_encoder unit_infer unit_warm warm_residency_test warm_start_failure_test
}

gpu_tests() { # of one test program
  "$build/tests/$1" --gtest_filter='Cuda/*' --gtest_output="json:$out/tests_$(basename "$1").json"
}

bench() { # NAME ARGUMENTS...: of `nanochat bench`, on the GPU
  local name=$1
  shift
  "$build/bin/nanochat" bench "$@" --device cuda:0 --json | tail -1 > "$out/bench_$name.json"
}

if has build; then part build build_all; fi
"$build/bin/nanochat" info --device cuda:0 --json > "$out/info.json" 2> "$out/info.log" || failed+=(info)
if has test; then
  for program in unit_kernels unit_model unit_encoder unit_infer unit_warm warm/warm_residency_test \
    warm/warm_start_failure_test; do
    part "$(basename "$program")" gpu_tests "$program"
  done
fi
if has sanitize; then
  for tool in memcheck racecheck; do
    part "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/unit_kernels" \
      --gtest_filter='Cuda/*'
  done
fi
if has bench; then
  part bench_decode bench decode decode --synthetic v0-d20 --dtype bf16 --tokens 256
  part bench_decode_int8 bench decode_int8 decode --synthetic v0-d20 --dtype int8 --tokens 256
  part bench_decode_long bench decode_long decode --synthetic v0-d20 --dtype bf16 --kv-dtype bf16 --prompt-tokens 1792 \
    --tokens 128
  part bench_batch bench batch batch --synthetic v0-d20 --dtype bf16 --kv-dtype bf16 --sessions 1,32 --tokens 128
  part bench_prefill bench prefill prefill --synthetic v0-d20 --dtype bf16 --kv-dtype bf16 --tokens 2048
  part bench_prefill_fast bench prefill_fast prefill --synthetic v0-d20 --dtype bf16 --kv-dtype bf16 --tokens 2048 --fast
  part bench_load bench load load --synthetic v0-d20 --dtype bf16
  part bench_embed bench embed embed --synthetic minilm-l6 --texts 32 --tokens 128
fi
if has torch; then
  part torch python3 tests/gpu/compare_torch.py --library "$build/libnanochat.so" --out "$out/torch.json"
fi
python3 tests/gpu/report.py "$out" "${failed[@]}" && cat "$out/gpu.md"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
