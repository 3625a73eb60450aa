#include "base/status.h"

#include <iterator>

#include "nanochat.h"

namespace {

struct StatusFacts {
  nanochat_status status;
  const char* name;
  const char* code;
  const char* category;
};

// Codes and categories of warm loading are those of its exit-code table; the others follow their pattern.
constexpr StatusFacts kFacts[] = {
    {NANOCHAT_OK, "OK", "OK", "OK"},
    {NANOCHAT_STATUS_INVALID_ARGUMENT, "INVALID_ARGUMENT", "ERR-INVALID-ARGUMENT", "CALLER"},
    {NANOCHAT_STATUS_INVALID_STATE, "INVALID_STATE", "ERR-INVALID-STATE", "CALLER"},
    {NANOCHAT_STATUS_UNSUPPORTED, "UNSUPPORTED", "ERR-UNSUPPORTED", "CALLER"},
    {NANOCHAT_STATUS_NOT_FOUND, "NOT_FOUND", "ERR-NOT-FOUND", "CALLER"},
    {NANOCHAT_STATUS_OUT_OF_RANGE, "OUT_OF_RANGE", "ERR-OUT-OF-RANGE", "CALLER"},
    {NANOCHAT_STATUS_FORKED, "FORKED", "ERR-FORKED", "CALLER"},
    {NANOCHAT_STATUS_CONFIG_INVALID, "CONFIG_INVALID", "ERR-WARM-CONFIG-INVALID", "CONFIG"},
    {NANOCHAT_STATUS_MODEL_ALREADY_REGISTERED, "MODEL_ALREADY_REGISTERED", "ERR-WARM-REGISTRY-DUPLICATE",
     "REGISTRY"},
    {NANOCHAT_STATUS_MODEL_NOT_REGISTERED, "MODEL_NOT_REGISTERED", "ERR-WARM-REGISTRY-MISSING", "REGISTRY"},
    {NANOCHAT_STATUS_FILE_NOT_FOUND, "FILE_NOT_FOUND", "ERR-FILE-NOT-FOUND", "FILE"},
    {NANOCHAT_STATUS_FILE_IO, "FILE_IO", "ERR-FILE-IO", "FILE"},
    {NANOCHAT_STATUS_FORMAT_INVALID, "FORMAT_INVALID", "ERR-FORMAT-INVALID", "FORMAT"},
    {NANOCHAT_STATUS_FORMAT_UNSUPPORTED, "FORMAT_UNSUPPORTED", "ERR-FORMAT-UNSUPPORTED", "FORMAT"},
    {NANOCHAT_STATUS_VERSION_MISMATCH, "VERSION_MISMATCH", "ERR-VERSION-MISMATCH", "FORMAT"},
    {NANOCHAT_STATUS_CHECKSUM_MISMATCH, "CHECKSUM_MISMATCH", "ERR-CHECKSUM-MISMATCH", "FORMAT"},
    {NANOCHAT_STATUS_DIAGNOSTIC_DUMP_FAILED, "DIAGNOSTIC_DUMP_FAILED", "ERR-WARM-DIAGNOSTIC-DUMP",
     "DIAGNOSTIC"},
    {NANOCHAT_STATUS_OUT_OF_MEMORY, "OUT_OF_MEMORY", "ERR-OUT-OF-MEMORY", "MEMORY"},
    {NANOCHAT_STATUS_BUDGET_EXCEEDED, "BUDGET_EXCEEDED", "ERR-BUDGET-EXCEEDED", "MEMORY"},
    {NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED, "WORKING_MEMORY_EXHAUSTED", "ERR-WARM-MEMORY-WORKING",
     "MEMORY"},
    {NANOCHAT_STATUS_BUFFER_TOO_SMALL, "BUFFER_TOO_SMALL", "ERR-BUFFER-TOO-SMALL", "MEMORY"},
    {NANOCHAT_STATUS_CONTEXT_FULL, "CONTEXT_FULL", "ERR-CONTEXT-FULL", "MEMORY"},
    {NANOCHAT_STATUS_CUDA_NOT_AVAILABLE, "CUDA_NOT_AVAILABLE", "ERR-WARM-CUDA-UNAVAILABLE", "CUDA"},
    {NANOCHAT_STATUS_CUDA_QUERY_FAILED, "CUDA_QUERY_FAILED", "ERR-WARM-CUDA-QUERY", "CUDA"},
    {NANOCHAT_STATUS_VRAM_ALLOCATION_FAILED, "VRAM_ALLOCATION_FAILED", "ERR-WARM-VRAM-ALLOC", "MEMORY"},
    {NANOCHAT_STATUS_THREAD_FAILED, "THREAD_FAILED", "ERR-THREAD-FAILED", "RESOURCE"},
    {NANOCHAT_STATUS_QUEUE_FULL, "QUEUE_FULL", "ERR-QUEUE-FULL", "RESOURCE"},
    {NANOCHAT_STATUS_CANCELLED, "CANCELLED", "ERR-CANCELLED", "CONTROL"},
    {NANOCHAT_STATUS_LOAD_TIMEOUT, "LOAD_TIMEOUT", "ERR-WARM-LOAD-TIMEOUT", "TIMEOUT"},
    {NANOCHAT_STATUS_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "ERR-DEADLINE-EXCEEDED", "TIMEOUT"},
    {NANOCHAT_STATUS_INTERNAL, "INTERNAL", "ERR-INTERNAL", "INTERNAL"},
    {NANOCHAT_STATUS_REGISTRY_LOCK_POISONED, "REGISTRY_LOCK_POISONED", "ERR-WARM-REGISTRY-POISON",
     "REGISTRY"},
    {NANOCHAT_STATUS_MODEL_FILE_MISSING, "MODEL_FILE_MISSING", "ERR-WARM-MODEL-MISSING", "MODEL_FILE"},
    {NANOCHAT_STATUS_MODEL_LOAD_FAILED, "MODEL_LOAD_FAILED", "ERR-WARM-MODEL-LOAD", "MODEL_LOAD"},
    {NANOCHAT_STATUS_MODEL_VALIDATION_FAILED, "MODEL_VALIDATION_FAILED", "ERR-WARM-MODEL-VALIDATION",
     "MODEL_VALIDATION"},
    {NANOCHAT_STATUS_VRAM_INSUFFICIENT_TOTAL, "VRAM_INSUFFICIENT_TOTAL", "ERR-WARM-VRAM-INSUFFICIENT",
     "VRAM"},
    {NANOCHAT_STATUS_VRAM_INSUFFICIENT_HEADROOM, "VRAM_INSUFFICIENT_HEADROOM", "ERR-WARM-VRAM-HEADROOM",
     "VRAM"},
    {NANOCHAT_STATUS_CUDA_INIT_FAILED, "CUDA_INIT_FAILED", "ERR-WARM-CUDA-INIT", "CUDA"},
    {NANOCHAT_STATUS_CUDA_CAPABILITY_INSUFFICIENT, "CUDA_CAPABILITY_INSUFFICIENT", "ERR-WARM-CUDA-CAPABILITY",
     "CUDA"},
    {NANOCHAT_STATUS_CUDA_ALLOC_FAILED, "CUDA_ALLOC_FAILED", "ERR-WARM-CUDA-ALLOC", "CUDA"},
    {NANOCHAT_STATUS_CUDA_CONTEXT_LOST, "CUDA_CONTEXT_LOST", "ERR-WARM-CUDA-CONTEXT-LOST", "CUDA"},
    {NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH, "MODEL_DIMENSION_MISMATCH",
     "ERR-WARM-MODEL-DIMENSION-MISMATCH", "MODEL_VALIDATION"},
};

constexpr StatusFacts kUnknown = {-1, "UNKNOWN", "ERR-UNKNOWN", "UNKNOWN"};

const StatusFacts& facts_of(nanochat_status status) {
  for (const StatusFacts& facts : kFacts) {
    if (facts.status == status) return facts;
  }
  return kUnknown;
}

// The inner enum and the header have the same numbers.
using nanochat::Status;
static_assert(static_cast<int>(Status::invalid_argument) == NANOCHAT_STATUS_INVALID_ARGUMENT);
static_assert(static_cast<int>(Status::invalid_state) == NANOCHAT_STATUS_INVALID_STATE);
static_assert(static_cast<int>(Status::unsupported) == NANOCHAT_STATUS_UNSUPPORTED);
static_assert(static_cast<int>(Status::not_found) == NANOCHAT_STATUS_NOT_FOUND);
static_assert(static_cast<int>(Status::out_of_range) == NANOCHAT_STATUS_OUT_OF_RANGE);
static_assert(static_cast<int>(Status::forked) == NANOCHAT_STATUS_FORKED);
static_assert(static_cast<int>(Status::config_invalid) == NANOCHAT_STATUS_CONFIG_INVALID);
static_assert(static_cast<int>(Status::file_not_found) == NANOCHAT_STATUS_FILE_NOT_FOUND);
static_assert(static_cast<int>(Status::file_io) == NANOCHAT_STATUS_FILE_IO);
static_assert(static_cast<int>(Status::format_invalid) == NANOCHAT_STATUS_FORMAT_INVALID);
static_assert(static_cast<int>(Status::format_unsupported) == NANOCHAT_STATUS_FORMAT_UNSUPPORTED);
static_assert(static_cast<int>(Status::version_mismatch) == NANOCHAT_STATUS_VERSION_MISMATCH);
static_assert(static_cast<int>(Status::checksum_mismatch) == NANOCHAT_STATUS_CHECKSUM_MISMATCH);
static_assert(static_cast<int>(Status::out_of_memory) == NANOCHAT_STATUS_OUT_OF_MEMORY);
static_assert(static_cast<int>(Status::budget_exceeded) == NANOCHAT_STATUS_BUDGET_EXCEEDED);
static_assert(static_cast<int>(Status::working_memory_exhausted) == NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED);
static_assert(static_cast<int>(Status::buffer_too_small) == NANOCHAT_STATUS_BUFFER_TOO_SMALL);
static_assert(static_cast<int>(Status::context_full) == NANOCHAT_STATUS_CONTEXT_FULL);
static_assert(static_cast<int>(Status::thread_failed) == NANOCHAT_STATUS_THREAD_FAILED);
static_assert(static_cast<int>(Status::queue_full) == NANOCHAT_STATUS_QUEUE_FULL);
static_assert(static_cast<int>(Status::cancelled) == NANOCHAT_STATUS_CANCELLED);
static_assert(static_cast<int>(Status::internal) == NANOCHAT_STATUS_INTERNAL);
static_assert(static_cast<int>(Status::model_file_missing) == NANOCHAT_STATUS_MODEL_FILE_MISSING);
static_assert(static_cast<int>(Status::model_load_failed) == NANOCHAT_STATUS_MODEL_LOAD_FAILED);
static_assert(static_cast<int>(Status::model_validation_failed) == NANOCHAT_STATUS_MODEL_VALIDATION_FAILED);
static_assert(static_cast<int>(Status::cuda_init_failed) == NANOCHAT_STATUS_CUDA_INIT_FAILED);
static_assert(static_cast<int>(Status::model_dimension_mismatch) == NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH);

}  // namespace

extern "C" {

const char* nanochat_status_name(nanochat_status status) { return facts_of(status).name; }
const char* nanochat_status_code_string(nanochat_status status) { return facts_of(status).code; }
const char* nanochat_status_category(nanochat_status status) { return facts_of(status).category; }

int32_t nanochat_status_is_fatal(nanochat_status status) {
  return status >= NANOCHAT_STATUS_MODEL_FILE_MISSING && status <= NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH
             ? 1
             : 0;
}

int32_t nanochat_status_exit_code(nanochat_status status) {
  if (status == NANOCHAT_OK) return 0;
  return nanochat_status_is_fatal(status) != 0 ? status : 1;
}

}  // extern "C"
