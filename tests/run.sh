#!/usr/bin/env bash
# Builds and tests everything.
#
#   bash tests/run.sh            release build and its tests, then the same with AddressSanitizer and UBSan
#   bash tests/run.sh PRESET...  these presets only: release, asan, tsan, dev
#   NANOCHAT_QUICK=1             the release build only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/packages.sh

install_packages g++ cmake ninja-build pkg-config ccache libzstd-dev libutf8proc-dev nlohmann-json3-dev \
  libxxhash-dev libcli11-dev libgtest-dev libbenchmark-dev abigail-tools clang ||
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

presets=("$@")
if [ ${#presets[@]} -eq 0 ]; then
  presets=(release)
  [ "${NANOCHAT_QUICK:-0}" = 1 ] || presets+=(asan)
fi
for preset in "${presets[@]}"; do run_preset "$preset"; done
echo "all tests passed: ${presets[*]}"
