#!/usr/bin/env bash
# An installation into an empty prefix holds the header, both libraries and what finds them, and nothing else.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
rm -rf "$PREFIX"
"$CMAKE" --install "$BUILD_DIR" --prefix "$PREFIX" > "$work/log" || { cat "$work/log"; fail "the installation failed"; }
minor=${VERSION%.*}
for file in include/nanochat.h bin/nanochat; do [ -f "$PREFIX/$file" ] || fail "$file is missing"; done
for file in "libnanochat.so.$VERSION" "libnanochat.so.$minor" libnanochat.so libnanochat.a pkgconfig/nanochat.pc \
  cmake/nanochat/nanochatConfig.cmake cmake/nanochat/nanochatConfigVersion.cmake; do
  found=$(find "$PREFIX" -path "*/$file" | wc -l)
  [ "$found" = 1 ] || fail "$file: $found found, 1 expected"
done
[ "$(find "$PREFIX/include" -type f | wc -l)" = 1 ] || fail "more than one header was installed"
grep -rIl -e "$BUILD_DIR" -e "$SOURCE_DIR/src" "$PREFIX" && fail "these files know the build tree"
"$PREFIX/bin/nanochat" --version | grep -qx "nanochat $VERSION" || fail "the installed program does not run"
