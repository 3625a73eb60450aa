#include "emulation_control.h"

#include "emulated_memory.h"
#include "machine.h"
#include "streams.h"

using nanochat::emulation::machine;

void nanochat_emulated_fail(const char* function, int nth, int error) {
  const std::lock_guard lock(machine().mutex);
  machine().faults.push_back({function, nth, static_cast<cudaError_t>(error)});
}

void nanochat_emulated_devices(int n) {
  const std::lock_guard lock(machine().mutex);
  machine().n_gpus = n;
}

void nanochat_emulated_memory(uint64_t bytes) {
  const std::lock_guard lock(machine().mutex);
  machine().memory_bytes = bytes;
}

void nanochat_emulated_counts(nanochat_emulated_numbers* numbers) {
  const std::lock_guard lock(machine().mutex);
  *numbers = {machine().n_launches, machine().n_copies, machine().n_graph_launches, machine().n_kernels_run,
              0};
  for (int i = 0; i < nanochat::emulation::Machine::kMostGpus; ++i) {
    numbers->device_bytes += nanochat::emulation::device_bytes_in_use(i);
  }
}

void nanochat_emulated_reset() {
  const std::lock_guard lock(machine().mutex);
  machine().faults.clear();
  for (int i = 0; i < nanochat::emulation::Machine::kMostGpus; ++i) {
    nanochat::emulation::drop_streams_of(i);
    nanochat::emulation::free_all_of(i);
    machine().gpus[i] = {};
  }
  machine().n_gpus = 1;
  machine().memory_bytes = uint64_t{8} << 30;
}
