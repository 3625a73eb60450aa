#!/usr/bin/env bash
# cc program.c $(pkg-config --cflags --libs nanochat)
. "$SOURCE_DIR/tests/consumer/consumer.sh"
$CC -std=c99 -Wall -Wextra -pedantic -Werror "$program_source" -o "$work/stream" \
  $(pkg-config --cflags --libs nanochat) -Wl,-rpath,"$library_dir"
readelf -d "$work/stream" | grep -q 'NEEDED.*libnanochat\.so\.' || fail "not linked with the shared library"
readelf -d "$work/stream" | grep -E 'NEEDED.*(zstd|utf8proc|pcre2|stdc)' && fail "a program sees what the library needs"
tells_the_story "$work/stream"
