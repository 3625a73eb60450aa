#include "health_table.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "owned_handles.h"

namespace nanochat::cli {
namespace {

std::string address_of(const nanochat_component_health& entry) {
  if (entry.kind >= NANOCHAT_COMPONENT_TEMPORAL_RECENT) return "computed";
  if (entry.address == 0) return "-";
  char text[24];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(entry.address));
  return text;
}

std::string test_of(const nanochat_component_health& entry) {
  if (entry.last_latency_us < 0) return "-";
  char text[48];
  std::snprintf(text, sizeof text, "%s, %.1f ms", entry.test_passed != 0 ? "passed" : "failed",
                static_cast<double>(entry.last_latency_us) * 1e-3);
  return text;
}

std::string row_of(const nanochat_component_health& entry) {
  char text[256];
  std::snprintf(text, sizeof text, "%-24.40s %-17s %-18s %10.1f %7lld  %s\n", printable(entry.id).c_str(),
                entry.status, address_of(entry).c_str(), static_cast<double>(entry.allocation_bytes) * 1e-6,
                static_cast<long long>(entry.dimension), test_of(entry).c_str());
  std::string row = text;
  if (*entry.message != '\0') row += "    " + printable(entry.message) + "\n";
  return row;
}

}  // namespace

std::string health_table(const nanochat_health_report* report) {
  char head[128];
  std::snprintf(head, sizeof head, "%-24s %-17s %-18s %10s %7s  %s\n", "component", "status", "address", "MB",
                "values", "test");
  std::string text = std::string(nanochat_health_report_line(report)) + "\n" + head;
  for (size_t i = 0; i < nanochat_health_report_count(report); ++i) {
    text += row_of(fill<nanochat_component_health>(Exit::running, nanochat_health_report_entry, report, i));
  }
  return text;
}

std::string health_json_line(const nanochat_health_report* report) {
  const Text json = make<Text>(Exit::running, nanochat_health_report_to_json, report);
  return nlohmann::ordered_json::parse(nanochat_text_data(json.get())).dump() + "\n";
}

}  // namespace nanochat::cli
