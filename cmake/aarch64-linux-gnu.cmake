# Cross build for 64-bit ARM Linux on Debian. Compiler and C library: g++-aarch64-linux-gnu; the other libraries:
# what tests/aarch64_libraries.sh unpacked into NANOCHAT_AARCH64_ROOT. Programs run in qemu-aarch64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64;-L;/usr/aarch64-linux-gnu)

set(NANOCHAT_AARCH64_ROOT ${CMAKE_CURRENT_LIST_DIR}/../build/aarch64-root CACHE PATH
  "Where the libraries for aarch64 were unpacked")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NANOCHAT_AARCH64_ROOT)
get_filename_component(nanochat_aarch64_root ${NANOCHAT_AARCH64_ROOT} ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH ${nanochat_aarch64_root} /usr/aarch64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# pkg-config: these packages and no others, their paths below the root.
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${nanochat_aarch64_root})
set(ENV{PKG_CONFIG_LIBDIR}
  ${nanochat_aarch64_root}/usr/lib/aarch64-linux-gnu/pkgconfig:${nanochat_aarch64_root}/usr/share/pkgconfig)
