// Moments as texts: UTC, ISO 8601, to the millisecond.
#pragma once

#include <cstdint>
#include <string>

namespace nanochat {

int64_t unix_milliseconds();  // now

// "2026-01-03T12:00:00.250Z"; years 0 to 9999, what is beyond is the nearest of them.
std::string utc_timestamp(int64_t unix_ms);

// "20260103T120000.250Z": the basic form, fit for the name of a file.
std::string utc_file_stamp(int64_t unix_ms);

}  // namespace nanochat
