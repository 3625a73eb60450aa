#!/usr/bin/env bash
# find_package(nanochat) from a C project, shared and static.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
mkdir "$work/project"
cp "$program_source" "$work/project/"
cat > "$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(customer LANGUAGES C)
find_package(nanochat 0.1 REQUIRED)
add_executable(shared stream.c)
target_link_libraries(shared PRIVATE nanochat::nanochat)
add_executable(static stream.c)
target_link_libraries(static PRIVATE nanochat::nanochat_static)
END
"$CMAKE" -S "$work/project" -B "$work/build" -DCMAKE_PREFIX_PATH="$PREFIX" -DCMAKE_C_COMPILER="$CC" > "$work/log" 2>&1 &&
  "$CMAKE" --build "$work/build" >> "$work/log" 2>&1 || { cat "$work/log"; fail "the project does not build"; }
tells_the_story "$work/build/shared"
tells_the_story "$work/build/static"
sed -i 's/nanochat 0.1/nanochat 0.2/' "$work/project/CMakeLists.txt"
"$CMAKE" -S "$work/project" -B "$work/other" -DCMAKE_PREFIX_PATH="$PREFIX" > "$work/log" 2>&1 &&
  fail "version $VERSION was taken for 0.2"
grep -q 'requested version "0.2"' "$work/log" || { cat "$work/log"; fail "refused for another reason"; }
