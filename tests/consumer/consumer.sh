# Sourced by the tests of this folder: where things are, and the story that every program has to tell.
set -euo pipefail
here=$SOURCE_DIR/tests/consumer
model=$SOURCE_DIR/tests/data/models/stories260K
program_source=$SOURCE_DIR/examples/c/stream.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$PREFIX" -name nanochat.pc 2>/dev/null | head -n 1)")
library_dir=$(dirname "$PKG_CONFIG_PATH")

fail() { echo "$*" >&2; exit 1; }

# tells_the_story PROGRAM...: its standard output is the reference's text for MODEL.
tells_the_story() {
  "$CMAKE" -DPROGRAM="$1" -DMODEL="$model" -P "$SOURCE_DIR/examples/c/check_story.cmake"
}
