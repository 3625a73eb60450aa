#include "base/status_facts.h"

namespace nanochat {

namespace {

// Codes and categories of warm loading are those of its exit-code table; the others follow their pattern.
constexpr StatusFacts kFacts[] = {
    {Status::ok, "OK", "OK", "OK"},
    {Status::invalid_argument, "INVALID_ARGUMENT", "ERR-INVALID-ARGUMENT", "CALLER"},
    {Status::invalid_state, "INVALID_STATE", "ERR-INVALID-STATE", "CALLER"},
    {Status::unsupported, "UNSUPPORTED", "ERR-UNSUPPORTED", "CALLER"},
    {Status::not_found, "NOT_FOUND", "ERR-NOT-FOUND", "CALLER"},
    {Status::out_of_range, "OUT_OF_RANGE", "ERR-OUT-OF-RANGE", "CALLER"},
    {Status::forked, "FORKED", "ERR-FORKED", "CALLER"},
    {Status::config_invalid, "CONFIG_INVALID", "ERR-WARM-CONFIG-INVALID", "CONFIG"},
    {Status::model_already_registered, "MODEL_ALREADY_REGISTERED", "ERR-WARM-REGISTRY-DUPLICATE", "REGISTRY"},
    {Status::model_not_registered, "MODEL_NOT_REGISTERED", "ERR-WARM-REGISTRY-MISSING", "REGISTRY"},
    {Status::file_not_found, "FILE_NOT_FOUND", "ERR-FILE-NOT-FOUND", "FILE"},
    {Status::file_io, "FILE_IO", "ERR-FILE-IO", "FILE"},
    {Status::format_invalid, "FORMAT_INVALID", "ERR-FORMAT-INVALID", "FORMAT"},
    {Status::format_unsupported, "FORMAT_UNSUPPORTED", "ERR-FORMAT-UNSUPPORTED", "FORMAT"},
    {Status::version_mismatch, "VERSION_MISMATCH", "ERR-VERSION-MISMATCH", "FORMAT"},
    {Status::checksum_mismatch, "CHECKSUM_MISMATCH", "ERR-CHECKSUM-MISMATCH", "FORMAT"},
    {Status::diagnostic_dump_failed, "DIAGNOSTIC_DUMP_FAILED", "ERR-WARM-DIAGNOSTIC-DUMP", "DIAGNOSTIC"},
    {Status::out_of_memory, "OUT_OF_MEMORY", "ERR-OUT-OF-MEMORY", "MEMORY"},
    {Status::budget_exceeded, "BUDGET_EXCEEDED", "ERR-BUDGET-EXCEEDED", "MEMORY"},
    {Status::working_memory_exhausted, "WORKING_MEMORY_EXHAUSTED", "ERR-WARM-MEMORY-WORKING", "MEMORY"},
    {Status::buffer_too_small, "BUFFER_TOO_SMALL", "ERR-BUFFER-TOO-SMALL", "MEMORY"},
    {Status::context_full, "CONTEXT_FULL", "ERR-CONTEXT-FULL", "MEMORY"},
    {Status::cuda_not_available, "CUDA_NOT_AVAILABLE", "ERR-WARM-CUDA-UNAVAILABLE", "CUDA"},
    {Status::cuda_query_failed, "CUDA_QUERY_FAILED", "ERR-WARM-CUDA-QUERY", "CUDA"},
    {Status::vram_allocation_failed, "VRAM_ALLOCATION_FAILED", "ERR-WARM-VRAM-ALLOC", "MEMORY"},
    {Status::thread_failed, "THREAD_FAILED", "ERR-THREAD-FAILED", "RESOURCE"},
    {Status::queue_full, "QUEUE_FULL", "ERR-QUEUE-FULL", "RESOURCE"},
    {Status::cancelled, "CANCELLED", "ERR-CANCELLED", "CONTROL"},
    {Status::load_timeout, "LOAD_TIMEOUT", "ERR-WARM-LOAD-TIMEOUT", "TIMEOUT"},
    {Status::deadline_exceeded, "DEADLINE_EXCEEDED", "ERR-DEADLINE-EXCEEDED", "TIMEOUT"},
    {Status::internal, "INTERNAL", "ERR-INTERNAL", "INTERNAL"},
    {Status::registry_lock_poisoned, "REGISTRY_LOCK_POISONED", "ERR-WARM-REGISTRY-POISON", "REGISTRY"},
    {Status::model_file_missing, "MODEL_FILE_MISSING", "ERR-WARM-MODEL-MISSING", "MODEL_FILE"},
    {Status::model_load_failed, "MODEL_LOAD_FAILED", "ERR-WARM-MODEL-LOAD", "MODEL_LOAD"},
    {Status::model_validation_failed, "MODEL_VALIDATION_FAILED", "ERR-WARM-MODEL-VALIDATION",
     "MODEL_VALIDATION"},
    {Status::vram_insufficient_total, "VRAM_INSUFFICIENT_TOTAL", "ERR-WARM-VRAM-INSUFFICIENT", "VRAM"},
    {Status::vram_insufficient_headroom, "VRAM_INSUFFICIENT_HEADROOM", "ERR-WARM-VRAM-HEADROOM", "VRAM"},
    {Status::cuda_init_failed, "CUDA_INIT_FAILED", "ERR-WARM-CUDA-INIT", "CUDA"},
    {Status::cuda_capability_insufficient, "CUDA_CAPABILITY_INSUFFICIENT", "ERR-WARM-CUDA-CAPABILITY",
     "CUDA"},
    {Status::cuda_alloc_failed, "CUDA_ALLOC_FAILED", "ERR-WARM-CUDA-ALLOC", "CUDA"},
    {Status::cuda_context_lost, "CUDA_CONTEXT_LOST", "ERR-WARM-CUDA-CONTEXT-LOST", "CUDA"},
    {Status::model_dimension_mismatch, "MODEL_DIMENSION_MISMATCH", "ERR-WARM-MODEL-DIMENSION-MISMATCH",
     "MODEL_VALIDATION"},
};

constexpr StatusFacts kUnknown = {Status{-1}, "UNKNOWN", "ERR-UNKNOWN", "UNKNOWN"};

}  // namespace

std::span<const StatusFacts> all_status_facts() { return kFacts; }

const StatusFacts& status_facts(Status status) {
  for (const StatusFacts& facts : kFacts) {
    if (facts.status == status) return facts;
  }
  return kUnknown;
}

bool is_fatal(Status status) {
  return status >= Status::model_file_missing && status <= Status::model_dimension_mismatch;
}

int32_t exit_code(Status status) {
  if (status == Status::ok) return 0;
  return is_fatal(status) ? static_cast<int32_t>(status) : 1;
}

}  // namespace nanochat
