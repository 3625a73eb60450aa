# Language standards, warnings, sanitizers and ccache: what every target of this build shares.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(NANOCHAT_CCACHE ccache)
if(NANOCHAT_CCACHE AND PROJECT_IS_TOP_LEVEL)
  set(CMAKE_C_COMPILER_LAUNCHER ${NANOCHAT_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${NANOCHAT_CCACHE})
endif()

# Compile and link flags of our own targets; never exported to consumers.
add_library(nanochat_flags INTERFACE)
target_compile_options(nanochat_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wvla>"
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>
  $<$<AND:$<BOOL:${NANOCHAT_WERROR}>,$<COMPILE_LANGUAGE:C,CXX>>:-Werror>
  # One rounding per written operation: a fused multiply-add appears only where the code asks for it, so
  # the reference kernels give the same bits on every compiler.
  $<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC bug 105651: a false alarm inside std::string at -O2 and above.
  target_compile_options(nanochat_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(NANOCHAT_SANITIZE)
  # UBSan is for the library's objects alone (nanochat_library_flags): it doubles the time to compile tests.
  string(REPLACE ",undefined" "" sanitizers_of_all "${NANOCHAT_SANITIZE}")
  target_compile_options(nanochat_flags INTERFACE -fsanitize=${sanitizers_of_all} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    # Instrumented code hides from GCC 12 what a std::variant holds.
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-maybe-uninitialized>)
  target_link_options(nanochat_flags INTERFACE -fsanitize=${NANOCHAT_SANITIZE})
  set(nanochat_library_flags -fsanitize=${NANOCHAT_SANITIZE} -fno-sanitize-recover=all)
endif()
# Programs and tests are thin: at -O3 their compilation takes half as long again, and nobody waits for them to run.
set(nanochat_program_flags $<$<CONFIG:Release>:-O1>)
