#!/usr/bin/env bash
# A program that knows the library only by name: opens it, uses it, closes it, three times.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
$CC -std=c99 -Wall -Wextra -Werror -I"$PREFIX/include" "$here/dlopen_program.c" -o "$work/program" -ldl
"$work/program" "$library_dir/libnanochat.so.${VERSION%.*}" "$model"
