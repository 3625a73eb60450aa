// What tests tell the emulator: exported by the emulated module, found there with dlsym().
#pragma once

#include <cstdint>

extern "C" {

struct nanochat_emulated_numbers {
  uint64_t launches;  // of single kernels
  uint64_t copies;    // started, either way or within the device
  uint64_t graph_launches;
  uint64_t kernels_run;   // alone or in graphs: less than what was launched until somebody waits
  uint64_t device_bytes;  // allocated now, on all GPUs
};

#define NANOCHAT_EMULATION_EXPORT __attribute__((visibility("default")))

// The nth call from now (1: the next) of a function of the API answers `error`; "kernel": the nth kernel that
// runs fails with it. As on a GPU, errors of the kind of cudaErrorIllegalAddress are answered by every later
// call too, until nanochat_emulated_reset().
NANOCHAT_EMULATION_EXPORT void nanochat_emulated_fail(const char* function, int nth, int error);
NANOCHAT_EMULATION_EXPORT void nanochat_emulated_devices(int n);          // 0 to 8; 1 at first
NANOCHAT_EMULATION_EXPORT void nanochat_emulated_memory(uint64_t bytes);  // of each GPU; 8 GiB at first
NANOCHAT_EMULATION_EXPORT void nanochat_emulated_counts(nanochat_emulated_numbers*);
// Forgets faults, lost contexts, work that waits, streams and memory; one GPU of 8 GiB.
NANOCHAT_EMULATION_EXPORT void nanochat_emulated_reset();

}  // extern "C"
