# The library: two object targets for all rooms below capi, so that unit tests reach inside, then libnanochat.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
find_package(nlohmann_json REQUIRED)
# Its assertions would abort the caller's process in debug builds; what they guard is checked before.
target_compile_definitions(nlohmann_json::nlohmann_json INTERFACE JSON_NO_IO=1 "JSON_ASSERT=static_cast<void>")

# What a device is made of; its tests, the CUDA module and a cross build of the kernels need nothing above it.
set(NANOCHAT_DEVICE_ROOMS base memory tensor kernels kernels/cpu)
set(NANOCHAT_ENGINE_ROOMS io tokenizer model encoder infer warm)
function(nanochat_glob_rooms result)
  set(sources)
  foreach(room IN LISTS ARGN)
    file(GLOB room_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${room}/*.cc)
    list(APPEND sources ${room_sources})
  endforeach()
  set(${result} ${sources} PARENT_SCOPE)
endfunction()
nanochat_glob_rooms(device_sources ${NANOCHAT_DEVICE_ROOMS})
nanochat_glob_rooms(engine_sources ${NANOCHAT_ENGINE_ROOMS})

# src/kernels/simd/isa_<name>.cc includes every simd/<stem>.inc and is compiled with that ISA's flags only.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(nanochat_isas avx2 avx512 avx512_bf16)
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/base/hash_avx2.cc PROPERTIES COMPILE_OPTIONS "-mavx2;-O3")
  set(nanochat_isa_flags_avx2 -mavx2 -mfma -mf16c -mbmi2)
  set(nanochat_isa_flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mbmi2
    -mprefer-vector-width=512)
  set(nanochat_isa_flags_avx512_bf16 ${nanochat_isa_flags_avx512} -mavx512vnni -mavx512bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(nanochat_isas neon neon_dot neon_bf16)
  set(nanochat_isa_flags_neon -march=armv8-a)
  set(nanochat_isa_flags_neon_dot -march=armv8.2-a+dotprod)
  set(nanochat_isa_flags_neon_bf16 -march=armv8.2-a+dotprod+bf16)
  # Moved up by this pass, the loads of a register tile need more registers than there are.
  set(nanochat_isa_common_flags $<$<CXX_COMPILER_ID:GNU>:-fno-schedule-insns>)
endif()
# GCC 12's register allocator, left to itself, spills the tiles of the int8 product: half of their speed.
list(APPEND nanochat_isa_common_flags $<$<CXX_COMPILER_ID:GNU>:-fira-region=one>)
if(NANOCHAT_SANITIZE)  # UBSan multiplies the time to compile unrolled intrinsics, which hold nothing for it to find
  list(APPEND nanochat_isa_common_flags -fno-sanitize=undefined)
endif()
foreach(isa IN LISTS nanochat_isas)
  set(isa_source ${PROJECT_SOURCE_DIR}/src/kernels/simd/isa_${isa}.cc)
  list(APPEND device_sources ${isa_source})
  set_source_files_properties(${isa_source} PROPERTIES
    COMPILE_OPTIONS "${nanochat_isa_flags_${isa}};${nanochat_isa_common_flags};-O3" SKIP_UNITY_BUILD_INCLUSION ON)
endforeach()

# With sanitizers, whose builds take longest, files of these rooms are compiled twelve at a time. Other builds compile
# each by itself, so that every file goes on including what it needs.
function(nanochat_group_sources)
  foreach(room IN LISTS ARGN)
    nanochat_glob_rooms(sources ${room})
    set(n 0)
    foreach(source IN LISTS sources)
      math(EXPR group "${n} / 12")
      math(EXPR n "${n} + 1")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${room}_${group})
    endforeach()
  endforeach()
endfunction()
if(NANOCHAT_SANITIZE)
  nanochat_group_sources(base model warm)
endif()

add_library(nanochat_device OBJECT ${device_sources})
target_include_directories(nanochat_device PUBLIC ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(nanochat_device
  PUBLIC nanochat_flags Threads::Threads PkgConfig::ZSTD PkgConfig::UTF8PROC PkgConfig::PCRE2
         nlohmann_json::nlohmann_json ${CMAKE_DL_LIBS})
target_compile_options(nanochat_device PRIVATE ${nanochat_library_flags})
add_library(nanochat_engine OBJECT ${engine_sources})
target_compile_options(nanochat_engine PRIVATE ${nanochat_library_flags})
target_link_libraries(nanochat_engine PUBLIC nanochat_device)
if(NANOCHAT_SANITIZE)
  set_target_properties(nanochat_device nanochat_engine PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endif()
set(nanochat_objects $<TARGET_OBJECTS:nanochat_device> $<TARGET_OBJECTS:nanochat_engine>)

file(GLOB capi_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/capi/*.cc)
add_library(nanochat_capi OBJECT ${capi_sources})
target_compile_definitions(nanochat_capi PRIVATE NANOCHAT_BUILDING $<$<BOOL:${NANOCHAT_CUDA}>:NANOCHAT_WITH_CUDA>)
target_compile_options(nanochat_capi PRIVATE ${nanochat_library_flags})
target_include_directories(nanochat_capi PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(nanochat_capi PRIVATE nanochat_engine)

# What both forms of the library share; the shared one keeps its dependencies to itself.
function(nanochat_describe_library target)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME nanochat LINKER_LANGUAGE CXX)
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE
    $<BUILD_INTERFACE:nanochat_flags> Threads::Threads
    $<BUILD_INTERFACE:PkgConfig::ZSTD> $<BUILD_INTERFACE:PkgConfig::UTF8PROC> $<BUILD_INTERFACE:PkgConfig::PCRE2>
    ${CMAKE_DL_LIBS})
endfunction()

add_library(nanochat $<TARGET_OBJECTS:nanochat_capi> ${nanochat_objects})
add_library(nanochat::nanochat ALIAS nanochat)
nanochat_describe_library(nanochat)
set_target_properties(nanochat PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
if(BUILD_SHARED_LIBS AND NANOCHAT_STATIC)
  add_library(nanochat_static STATIC $<TARGET_OBJECTS:nanochat_capi> ${nanochat_objects})
  add_library(nanochat::nanochat_static ALIAS nanochat_static)
  nanochat_describe_library(nanochat_static)
endif()
if(BUILD_SHARED_LIBS)
  set(version_script ${PROJECT_SOURCE_DIR}/pkgconfig/nanochat.map)
  target_link_options(nanochat PRIVATE -Wl,--version-script=${version_script} -Wl,--exclude-libs,ALL
    -Wl,-z,noexecstack -Wl,-z,relro -Wl,-z,now -Wl,--gc-sections)
  set_target_properties(nanochat PROPERTIES LINK_DEPENDS ${version_script})
  if(NOT NANOCHAT_SANITIZE)
    target_link_options(nanochat PRIVATE -Wl,-z,defs)
  endif()
endif()

set(NANOCHAT_COMMIT "unknown")
execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE git_commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE git_result)
if(git_result EQUAL 0)
  set(NANOCHAT_COMMIT ${git_commit})
endif()
set_source_files_properties(${PROJECT_SOURCE_DIR}/src/capi/version.cc PROPERTIES
  COMPILE_DEFINITIONS "NANOCHAT_COMMIT=\"${NANOCHAT_COMMIT}\"")
