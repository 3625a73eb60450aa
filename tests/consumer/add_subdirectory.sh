#!/usr/bin/env bash
# add_subdirectory(libnanochat): no tests, no program, no installation of ours in the customer's build.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
mkdir "$work/project"
cp "$program_source" "$work/project/"
cat > "$work/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(customer LANGUAGES C CXX)
add_subdirectory($SOURCE_DIR nanochat)
add_executable(customer stream.c)
target_link_libraries(customer PRIVATE nanochat::nanochat)
install(TARGETS customer)
END
launcher=()
ccache=$(command -v ccache || true)
# With the flags of the surrounding release build, in a folder as deep as its own, ccache has every object already.
build=$BUILD_DIR-customer
rm -rf "$build"
trap 'rm -rf "$work" "$build"' EXIT
[ -n "$ccache" ] && launcher=(-DCMAKE_C_COMPILER_LAUNCHER="$ccache" -DCMAKE_CXX_COMPILER_LAUNCHER="$ccache")
"$CMAKE" -G Ninja -S "$work/project" -B "$build" -DCMAKE_BUILD_TYPE="$BUILD_TYPE" -DNANOCHAT_WERROR="$WERROR" \
  -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" "${launcher[@]}" \
  > "$work/log" 2>&1 || { cat "$work/log"; fail "the project cannot be configured"; }
ninja -C "$build" -t targets all > "$work/targets"
grep -qE '^(unit_|nanochat_cli|example_)' "$work/targets" && fail "tests or the program are part of the customer's build"
grep -q 'nanochat.h' "$build/nanochat/cmake_install.cmake" && fail "our files are part of the customer's installation"
ninja -C "$build" CMakeFiles/customer.dir/stream.c.o > "$work/log" || { cat "$work/log"; fail "no header"; }
if [ -z "$ccache" ] || [ "$BUILD_TYPE" != Release ]; then
  echo "not linked: building the library again takes ccache and a release build"
  exit 0
fi
"$CMAKE" --build "$build" --target customer > "$work/log" 2>&1 || { tail -n 40 "$work/log"; fail "no build"; }
tells_the_story "$build/customer"
