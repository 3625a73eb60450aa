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
# The flags of the surrounding build: with ccache every object is already there.
[ -n "$ccache" ] && launcher=(-DCMAKE_C_COMPILER_LAUNCHER="$ccache" -DCMAKE_CXX_COMPILER_LAUNCHER="$ccache")
"$CMAKE" -G Ninja -S "$work/project" -B "$work/build" -DCMAKE_BUILD_TYPE="$BUILD_TYPE" -DNANOCHAT_WERROR="$WERROR" \
  -DCMAKE_UNITY_BUILD="${UNITY:-OFF}" -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" "${launcher[@]}" \
  > "$work/log" 2>&1 || { cat "$work/log"; fail "the project cannot be configured"; }
ninja -C "$work/build" -t targets all > "$work/targets"
grep -qE '^(unit_|nanochat_cli|example_)' "$work/targets" && fail "tests or the program are part of the customer's build"
grep -q 'nanochat.h' "$work/build/nanochat/cmake_install.cmake" && fail "our files are part of the customer's installation"
if [ -z "$ccache" ]; then
  echo "configured only: building everything again takes ccache"
  exit 0
fi
"$CMAKE" --build "$work/build" --target customer > "$work/log" 2>&1 || { tail -n 40 "$work/log"; fail "no build"; }
tells_the_story "$work/build/customer"
