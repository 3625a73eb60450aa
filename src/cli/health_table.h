// What a fleet's health report says, for people.
#pragma once

#include <nanochat.h>

#include <string>

namespace nanochat::cli {

// The report's line, then a row for each component; why one does not do well stands under it.
std::string health_table(const nanochat_health_report* report);

// The report as one line of JSON.
std::string health_json_line(const nanochat_health_report* report);

}  // namespace nanochat::cli
