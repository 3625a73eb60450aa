#!/usr/bin/env bash
# The C program in README.md, as it stands there.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
sed -n '/^```c$/,/^```$/{/^```/!p}' "$SOURCE_DIR/README.md" > "$work/story.c"
grep -q 'int main' "$work/story.c" || fail "README.md holds no C program"
$CC -std=c99 -Wall -Wextra -pedantic -Werror "$work/story.c" -o "$work/story" \
  $(pkg-config --cflags --libs nanochat) -Wl,-rpath,"$library_dir"
cd "$SOURCE_DIR"
"$work/story" > "$work/text"
[ "$(wc -c < "$work/text")" -gt 100 ] || fail "the story is too short: $(cat "$work/text")"
