#!/usr/bin/env bash
# Builds and tests everything.
#
#   bash tests/run.sh            release build and its tests, the same with AddressSanitizer and UBSan, then the
#                                NEON kernels in an emulator of aarch64; where the CUDA Toolkit is installed, the CUDA
#                                module is compiled and linked too (its tests run in an emulator of CUDA, in every preset)
#   bash tests/run.sh PRESET...  these presets only: release, asan, tsan, dev, aarch64 (all that runs in the emulator)
#   NANOCHAT_QUICK=1             the release build only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/packages.sh

install_packages g++ cmake ninja-build pkg-config ccache libzstd-dev libutf8proc-dev libpcre2-dev nlohmann-json3-dev \
  libxxhash-dev libcli11-dev libpng-dev libturbojpeg0-dev libgtest-dev libbenchmark-dev abigail-tools clang ||
  { echo "run.sh: some packages are missing and could not be installed" >&2; exit 1; }

jobs=$(nproc)
[ "$jobs" -le 2 ] || jobs=$((jobs - 1))

# The sanitizers of GCC 12 cannot live with the widest address randomisation that newer kernels use.
fixed_addresses=()
setarch -R true 2> /dev/null && fixed_addresses=(setarch -R)

run_preset() {
  local preset=$1 began=$SECONDS
  cmake --preset "$preset"
  cmake --build --preset "$preset" -j "$jobs"
  echo "$preset: built in $((SECONDS - began)) s"
  began=$SECONDS
  "${fixed_addresses[@]}" ctest --preset "$preset" -j 2
  echo "$preset: tested in $((SECONDS - began)) s"
}

# The cross build needs a compiler, an emulator and libraries of its own.
prepare_aarch64() {
  install_packages g++-aarch64-linux-gnu qemu-user && bash tests/aarch64_libraries.sh
}

# The part of preset aarch64 that no other preset covers.
run_neon_kernels() {
  local began=$SECONDS
  cmake --preset aarch64
  cmake --build --preset aarch64 -j "$jobs" --target unit_kernels
  echo "NEON kernels: built in $((SECONDS - began)) s"
  began=$SECONDS
  # neon_dot differs from neon in int8 alone. Many threads take minutes in the emulator.
  GTEST_FILTER='*/neon:*/neon_bf16:*LinearInt8*/neon_dot:CpuDevice.*:-*MeasuresRates*:*EveryNumberOfThreads*' \
    ctest --preset aarch64 -R '^(unit_kernels|abi_isa_symbols)$'
  echo "NEON kernels: tested in $((SECONDS - began)) s"
}

# For the architecture with most of its own code; a release is built for all of cuda/CMakeLists.txt.
build_cuda_module() {
  local began=$SECONDS
  cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=90-real -DNANOCHAT_TESTS=OFF -DNANOCHAT_CLI=OFF
  cmake --build --preset cuda -j "$jobs" --target nanochat_cuda
  ldd -r build/cuda/libnanochat_cuda.so | grep "undefined symbol" && return 1
  echo "CUDA module: built in $((SECONDS - began)) s"
}

presets=("$@")
with_others=0
if [ ${#presets[@]} -eq 0 ]; then
  presets=(release)
  [ "${NANOCHAT_QUICK:-0}" = 1 ] || { presets+=(asan); with_others=1; }
fi
for preset in "${presets[@]}"; do
  [ "$preset" != aarch64 ] || prepare_aarch64
  run_preset "$preset"
done
passed=${presets[*]}
if [ "$with_others" = 1 ]; then
  PATH=$PATH:/usr/local/cuda/bin
  if command -v nvcc > /dev/null; then
    build_cuda_module
    passed+=", CUDA module compiled"
  else
    passed+="; NOT COMPILED for want of the CUDA Toolkit: CUDA module"
  fi
  if prepare_aarch64; then
    run_neon_kernels
    passed+=", NEON kernels"
  else
    passed+="; NOT RUN for want of packages: NEON kernels"
  fi
fi
echo "all tests passed: $passed"
