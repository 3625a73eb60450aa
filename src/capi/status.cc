#include "base/status.h"

#include "base/status_facts.h"
#include "nanochat.h"

namespace {

using nanochat::Status;

// The inner enum and the header have the same numbers.
static_assert(static_cast<int>(Status::ok) == NANOCHAT_OK);
static_assert(static_cast<int>(Status::invalid_argument) == NANOCHAT_STATUS_INVALID_ARGUMENT);
static_assert(static_cast<int>(Status::invalid_state) == NANOCHAT_STATUS_INVALID_STATE);
static_assert(static_cast<int>(Status::unsupported) == NANOCHAT_STATUS_UNSUPPORTED);
static_assert(static_cast<int>(Status::not_found) == NANOCHAT_STATUS_NOT_FOUND);
static_assert(static_cast<int>(Status::out_of_range) == NANOCHAT_STATUS_OUT_OF_RANGE);
static_assert(static_cast<int>(Status::forked) == NANOCHAT_STATUS_FORKED);
static_assert(static_cast<int>(Status::config_invalid) == NANOCHAT_STATUS_CONFIG_INVALID);
static_assert(static_cast<int>(Status::model_already_registered) == NANOCHAT_STATUS_MODEL_ALREADY_REGISTERED);
static_assert(static_cast<int>(Status::model_not_registered) == NANOCHAT_STATUS_MODEL_NOT_REGISTERED);
static_assert(static_cast<int>(Status::file_not_found) == NANOCHAT_STATUS_FILE_NOT_FOUND);
static_assert(static_cast<int>(Status::file_io) == NANOCHAT_STATUS_FILE_IO);
static_assert(static_cast<int>(Status::format_invalid) == NANOCHAT_STATUS_FORMAT_INVALID);
static_assert(static_cast<int>(Status::format_unsupported) == NANOCHAT_STATUS_FORMAT_UNSUPPORTED);
static_assert(static_cast<int>(Status::version_mismatch) == NANOCHAT_STATUS_VERSION_MISMATCH);
static_assert(static_cast<int>(Status::checksum_mismatch) == NANOCHAT_STATUS_CHECKSUM_MISMATCH);
static_assert(static_cast<int>(Status::diagnostic_dump_failed) == NANOCHAT_STATUS_DIAGNOSTIC_DUMP_FAILED);
static_assert(static_cast<int>(Status::out_of_memory) == NANOCHAT_STATUS_OUT_OF_MEMORY);
static_assert(static_cast<int>(Status::budget_exceeded) == NANOCHAT_STATUS_BUDGET_EXCEEDED);
static_assert(static_cast<int>(Status::working_memory_exhausted) == NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED);
static_assert(static_cast<int>(Status::buffer_too_small) == NANOCHAT_STATUS_BUFFER_TOO_SMALL);
static_assert(static_cast<int>(Status::context_full) == NANOCHAT_STATUS_CONTEXT_FULL);
static_assert(static_cast<int>(Status::cuda_not_available) == NANOCHAT_STATUS_CUDA_NOT_AVAILABLE);
static_assert(static_cast<int>(Status::cuda_query_failed) == NANOCHAT_STATUS_CUDA_QUERY_FAILED);
static_assert(static_cast<int>(Status::vram_allocation_failed) == NANOCHAT_STATUS_VRAM_ALLOCATION_FAILED);
static_assert(static_cast<int>(Status::thread_failed) == NANOCHAT_STATUS_THREAD_FAILED);
static_assert(static_cast<int>(Status::queue_full) == NANOCHAT_STATUS_QUEUE_FULL);
static_assert(static_cast<int>(Status::cancelled) == NANOCHAT_STATUS_CANCELLED);
static_assert(static_cast<int>(Status::load_timeout) == NANOCHAT_STATUS_LOAD_TIMEOUT);
static_assert(static_cast<int>(Status::deadline_exceeded) == NANOCHAT_STATUS_DEADLINE_EXCEEDED);
static_assert(static_cast<int>(Status::internal) == NANOCHAT_STATUS_INTERNAL);
static_assert(static_cast<int>(Status::registry_lock_poisoned) == NANOCHAT_STATUS_REGISTRY_LOCK_POISONED);
static_assert(static_cast<int>(Status::model_file_missing) == NANOCHAT_STATUS_MODEL_FILE_MISSING);
static_assert(static_cast<int>(Status::model_load_failed) == NANOCHAT_STATUS_MODEL_LOAD_FAILED);
static_assert(static_cast<int>(Status::model_validation_failed) == NANOCHAT_STATUS_MODEL_VALIDATION_FAILED);
static_assert(static_cast<int>(Status::vram_insufficient_total) == NANOCHAT_STATUS_VRAM_INSUFFICIENT_TOTAL);
static_assert(static_cast<int>(Status::vram_insufficient_headroom) ==
              NANOCHAT_STATUS_VRAM_INSUFFICIENT_HEADROOM);
static_assert(static_cast<int>(Status::cuda_init_failed) == NANOCHAT_STATUS_CUDA_INIT_FAILED);
static_assert(static_cast<int>(Status::cuda_capability_insufficient) ==
              NANOCHAT_STATUS_CUDA_CAPABILITY_INSUFFICIENT);
static_assert(static_cast<int>(Status::cuda_alloc_failed) == NANOCHAT_STATUS_CUDA_ALLOC_FAILED);
static_assert(static_cast<int>(Status::cuda_context_lost) == NANOCHAT_STATUS_CUDA_CONTEXT_LOST);
static_assert(static_cast<int>(Status::model_dimension_mismatch) == NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH);

const nanochat::StatusFacts& facts_of(nanochat_status status) {
  return nanochat::status_facts(static_cast<Status>(status));
}

}  // namespace

extern "C" {

const char* nanochat_status_name(nanochat_status status) { return facts_of(status).name; }
const char* nanochat_status_code_string(nanochat_status status) { return facts_of(status).code; }
const char* nanochat_status_category(nanochat_status status) { return facts_of(status).category; }

int32_t nanochat_status_is_fatal(nanochat_status status) {
  return nanochat::is_fatal(static_cast<Status>(status)) ? 1 : 0;
}

int32_t nanochat_status_exit_code(nanochat_status status) {
  return nanochat::exit_code(static_cast<Status>(status));
}

}  // extern "C"
