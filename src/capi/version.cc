#include <string>

#include "capi/guard.h"

namespace {

constexpr const char* kBuildInfo =
    "{\"schema\":\"nanochat.build_info.v1\",\"version\":\"" NANOCHAT_VERSION_STRING
    "\",\"commit\":\"" NANOCHAT_COMMIT "\",\"compiler\":\"" __VERSION__
    "\","
#if defined(__x86_64__)
    "\"architecture\":\"x86_64\",\"isas\":[\"reference\",\"avx2\",\"avx512\",\"avx512_bf16\"],"
#elif defined(__aarch64__)
    "\"architecture\":\"aarch64\",\"isas\":[\"reference\",\"neon\",\"neon_dot\",\"neon_bf16\"],"
#else
    "\"architecture\":\"other\",\"isas\":[\"reference\"],"
#endif
    "\"assertions\":"
#ifdef NDEBUG
    "false}";
#else
    "true}";
#endif

static_assert(NANOCHAT_VERSION_NUMBER ==
              NANOCHAT_VERSION_MAJOR * 10000 + NANOCHAT_VERSION_MINOR * 100 + NANOCHAT_VERSION_PATCH);

}  // namespace

extern "C" {

uint32_t nanochat_version_number(void) { return NANOCHAT_VERSION_NUMBER; }

const char* nanochat_version_string(void) { return NANOCHAT_VERSION_STRING; }

nanochat_status nanochat_check_version(uint32_t header_version, nanochat_error** error) {
  return nanochat::guard(error, [&] {
    const uint32_t header_major = header_version / 10000;
    const uint32_t header_minor = header_version / 100 % 100;
    const bool same = header_major == NANOCHAT_VERSION_MAJOR &&
                      (header_major > 0 || header_minor == NANOCHAT_VERSION_MINOR);
    if (!same) {
      throw nanochat::Error(nanochat::Status::version_mismatch)
          .subject("libnanochat")
          .say("the program was compiled with nanochat.h {}.{}.{}, the library that is running is {}",
               header_major, header_minor, header_version % 100, NANOCHAT_VERSION_STRING)
          .hint("install the library and the header of one release");
    }
  });
}

const char* nanochat_build_info(void) { return kBuildInfo; }

}  // extern "C"
