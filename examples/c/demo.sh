#!/usr/bin/env bash
# The first command of a newcomer: builds libnanochat, lets a very small model tell a story, and warms a small fleet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/packages.sh

build=build/demo
model=tests/data/models/stories260K
log=$build/demo.log

fail() {
  echo "demo.sh: $1" >&2
  [ ! -f "$log" ] || { echo "The last lines of $log:" >&2; tail -n 20 "$log" >&2; }
  exit 1
}

# Shows what is going on in one line; the rest goes to the log.
step() {
  echo "$1 ..." >&2
  shift
  "$@" >> "$log" 2>&1 || fail "'$*' failed"
}

[ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || fail "needs a 64-bit x86 or ARM machine, this is $(uname -m)"
mkdir -p "$build"
: > "$log"
install_packages g++ cmake ninja-build pkg-config libzstd-dev libutf8proc-dev libpcre2-dev nlohmann-json3-dev libxxhash-dev ||
  fail "some packages are missing and could not be installed"

step "Configuring" cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNANOCHAT_TESTS=OFF \
  -DNANOCHAT_EXAMPLES=ON -DNANOCHAT_STATIC=OFF -DNANOCHAT_CLI=OFF
step "Building (some minutes the first time)" cmake --build "$build" --target example_stream example_warm

echo "A model with 260,000 weights tells a story:" >&2
echo >&2
"$build/examples/stream" "$model" "" 200 || fail "the story was not told"

echo >&2
echo "A fleet of twelve small embedders and the fusion of their vectors, all loaded or none:" >&2
echo >&2
"$build/examples/warm" "$build/fleet" 2>> "$log" || fail "the fleet did not become warm"
cat >&2 <<END

What ran:          $build/examples/stream $model "" 200      (add a prompt of your own in the quotes)
                   $build/examples/warm $build/fleet
The programs:      examples/c/stream.c, examples/c/warm.c
What comes next:   README.md
END
