#!/usr/bin/env bash
# cc program.c $(pkg-config --static --cflags --libs nanochat), in a prefix that has the archive alone.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
cp -r "$PREFIX" "$work/prefix" # which also shows that the .pc file may be moved
rm "$work/prefix/${library_dir#"$PREFIX"/}"/libnanochat.so*
PKG_CONFIG_PATH=$work/prefix/${PKG_CONFIG_PATH#"$PREFIX"/}
$CC -std=c99 "$program_source" -o "$work/stream" $(pkg-config --static --cflags --libs nanochat)
readelf -d "$work/stream" | grep -q 'NEEDED.*libnanochat' && fail "linked with the shared library"
tells_the_story "$work/stream"
