// Status numbers: the same as NANOCHAT_STATUS_* of the public header (src/capi/status.cc asserts it).
#pragma once

#include <cstdint>

namespace nanochat {

enum class Status : int32_t {
  ok = 0,
  // 1..19: the caller's fault
  invalid_argument = 1,
  invalid_state = 2,
  unsupported = 3,
  not_found = 4,
  out_of_range = 5,
  forked = 6,
  config_invalid = 7,
  model_already_registered = 8,
  model_not_registered = 9,
  // 20..39: files and formats
  file_not_found = 20,
  file_io = 21,
  format_invalid = 22,
  format_unsupported = 23,
  version_mismatch = 24,
  checksum_mismatch = 25,
  diagnostic_dump_failed = 26,
  // 40..59: resources
  out_of_memory = 40,
  budget_exceeded = 41,
  working_memory_exhausted = 42,
  buffer_too_small = 43,
  context_full = 44,
  cuda_not_available = 45,
  cuda_query_failed = 46,
  vram_allocation_failed = 47,
  thread_failed = 48,
  queue_full = 49,
  // 60..79: control
  cancelled = 60,
  load_timeout = 61,
  deadline_exceeded = 62,
  // 80..99: internal
  internal = 80,
  registry_lock_poisoned = 81,
  // 101..110: fatal
  model_file_missing = 101,
  model_load_failed = 102,
  model_validation_failed = 103,
  vram_insufficient_total = 104,
  vram_insufficient_headroom = 105,
  cuda_init_failed = 106,
  cuda_capability_insufficient = 107,
  cuda_alloc_failed = 108,
  cuda_context_lost = 109,
  model_dimension_mismatch = 110,
};

}  // namespace nanochat
