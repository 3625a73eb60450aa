// Reports of a fleet's health.
#include "warm/health.h"

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

struct nanochat_health_report {
  HealthReport report;
  std::string line;
  std::vector<std::string> messages;  // of each component
};

namespace {

constexpr size_t kComponentHealthSize = 128;

bool is_failing(const ComponentHealth& component) {
  return component.entry.state == WarmState::warm && !component.problem.empty();
}

// The names are literals.
const char* status_of(const ComponentHealth& component) {
  return is_failing(component) ? "warm_but_failing" : state_name(component.entry.state).data();
}

nanochat_health_report* make_report(HealthReport report) {
  std::string line = health_line(report);
  std::vector<std::string> messages;
  for (const ComponentHealth& component : report.components) {
    messages.push_back(is_failing(component) ? component.problem : component.entry.message);
  }
  return new nanochat_health_report{std::move(report), std::move(line), std::move(messages)};
}

nanochat_component_health describe(const nanochat_health_report& report, size_t index) {
  const ComponentHealth& component = report.report.components[index];
  const EntryStatus& entry = component.entry;
  nanochat_component_health health{};
  health.id = component.id.c_str();
  health.status = status_of(component);
  health.message = report.messages[index].c_str();
  health.checksum = component.checksum.c_str();
  health.address = component.address;
  health.allocation_bytes = component.allocation_bytes;
  health.locked_bytes = component.locked_bytes;
  health.expected_bytes = component.expected_bytes;
  health.bytes_loaded = entry.bytes_loaded;
  health.dimension = component.dimension;
  health.load_ms = entry.load_ms;
  health.last_latency_us = entry.last_latency_us;
  health.kind = static_cast<int32_t>(component.kind);
  health.state = static_cast<int32_t>(entry.state);
  health.progress_percent = entry.progress_percent;
  health.is_resident = component.is_resident ? 1 : 0;
  health.test_passed = entry.test_passed ? 1 : 0;
  health.error = static_cast<nanochat_status>(entry.error);
  return health;
}

}  // namespace

extern "C" {

nanochat_status nanochat_health_check(const nanochat_registry* registry, int32_t full,
                                      const nanochat_cancel* cancel, nanochat_health_report** out_report,
                                      nanochat_error** error) {
  return guard(error, [&] {
    const Fleet& fleet = *require_handle(registry, "registry").fleet;
    require_pointer(out_report, "out_report");
    *out_report =
        make_report(full == 0 ? check_quick(fleet) : check_full(fleet, make_watch(nullptr, nullptr, cancel)));
  });
}

void nanochat_health_report_free(nanochat_health_report* report) { delete report; }

int32_t nanochat_health_report_overall(const nanochat_health_report* report) {
  return report == nullptr ? NANOCHAT_HEALTH_NOT_INITIALIZED : static_cast<int32_t>(report->report.health);
}

size_t nanochat_health_report_count(const nanochat_health_report* report) {
  return report == nullptr ? 0 : report->report.components.size();
}

const char* nanochat_health_report_line(const nanochat_health_report* report) {
  return report == nullptr ? "" : report->line.c_str();
}

nanochat_status nanochat_health_report_entry(const nanochat_health_report* report, size_t index,
                                             nanochat_component_health* health, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(report, "report");
    require_info(health, "nanochat_component_health", kComponentHealthSize);
    if (index >= report->report.components.size()) {
      throw Error(Status::out_of_range)
          .subject("index")
          .say("index is {}, the report has {} components", index, report->report.components.size());
    }
    export_info(describe(*report, index), health);
  });
}

nanochat_status nanochat_health_report_to_json(const nanochat_health_report* report, nanochat_text** out_json,
                                               nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(report, "report");
    require_pointer(out_json, "out_json");
    *out_json = make_text(write_json(health_json(report->report), 2));
  });
}

}  // extern "C"
