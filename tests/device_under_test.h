// The devices that a test body runs on, by the name that is its parameter:
//   "reference", "avx2", "neon" ...  the host with that instruction set; "" with its best one
//   "emulated"                       the CUDA module's own sources, run by an emulator of CUDA's execution
//   model "cuda:0"                         a GPU, in builds with NANOCHAT_CUDA; without a GPU its tests are
//   skipped
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/cuda_module.h"
#include "tensor/device.h"

namespace nanochat::testing {

inline bool is_cuda(const std::string& device) { return device == "emulated" || device == "cuda:0"; }

// `raw`: where a host takes its memory from; a GPU has its own.
inline std::shared_ptr<Device> make_device(const std::string& device = "", int n_threads = 2,
                                           uint64_t budget_bytes = 0,
                                           std::shared_ptr<RawMemory> raw = make_host_memory()) {
  ThreadPool::Options options;
  options.n_threads = n_threads;
  auto threads = std::make_shared<ThreadPool>(options);
  auto log = std::make_shared<Log>();
#ifdef NANOCHAT_EMULATED_CUDA_MODULE
  if (device == "emulated") {
    return make_cuda_device_from(NANOCHAT_EMULATED_CUDA_MODULE, "cuda:0", std::move(threads), std::move(log),
                                 budget_bytes);
  }
#endif
#ifdef NANOCHAT_CUDA_MODULE
  if (device == "cuda:0") {
    return make_cuda_device_from(NANOCHAT_CUDA_MODULE, device, std::move(threads), std::move(log),
                                 budget_bytes);
  }
#endif
  MemoryOptions memory;
  memory.budget_bytes = budget_bytes;
  return make_cpu_device(Memory::create(std::move(raw), memory), std::move(threads), std::move(log), device);
}

// What to say of tests that were to run on a GPU where there is none; else "".
inline std::string reason_to_skip(const std::string& device) {
  if (device != "cuda:0") return "";
  static const std::string reason = [] {
    try {
      make_device("cuda:0", 1);
    } catch (const Error& error) {
      if (error.status() != Status::cuda_init_failed) throw;
      return error.message();
    }
    return std::string();
  }();
  return reason;
}

// Of memory of a device.
template <class T>
std::vector<T> on_host(Device& device, const T* data, int64_t n) {
  std::vector<T> values(static_cast<size_t>(n));
  device.copy_to_host(values.data(), data, values.size() * sizeof(T));
  return values;
}

// How a test's name has its device.
inline std::string device_test_name(const std::string& device) {
  std::string name = device.empty() ? "best" : device;
  for (char& letter : name) letter = letter == ':' ? '_' : letter;
  return name;
}

struct DeviceTestName {
  std::string operator()(const ::testing::TestParamInfo<std::string>& info) const {
    return device_test_name(info.param);
  }
};

// What this build can run beside the host.
inline std::vector<std::string> cuda_devices() {
  std::vector<std::string> names;
#ifdef NANOCHAT_EMULATED_CUDA_MODULE
  names.emplace_back("emulated");
#endif
#ifdef NANOCHAT_CUDA_MODULE
  names.emplace_back("cuda:0");
#endif
  return names;
}

}  // namespace nanochat::testing

#define NANOCHAT_SKIP_WITHOUT_A_GPU(device)                                    \
  if (!::nanochat::testing::reason_to_skip(device).empty()) {                  \
    GTEST_SKIP() << "no GPU: " << ::nanochat::testing::reason_to_skip(device); \
  }                                                                            \
  static_assert(true)

#define NANOCHAT_ON_EVERY_ISA(suite)                                                          \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::ValuesIn(::nanochat::available_cpu_isas()), \
                           ::nanochat::testing::DeviceTestName())

#ifdef NANOCHAT_EMULATED_CUDA_MODULE
#define NANOCHAT_ON_THE_EMULATOR(suite)                                                 \
  INSTANTIATE_TEST_SUITE_P(Emulated, suite, ::testing::Values(std::string("emulated")), \
                           ::nanochat::testing::DeviceTestName())
#else
#define NANOCHAT_ON_THE_EMULATOR(suite) static_assert(true)
#endif

#ifdef NANOCHAT_CUDA_MODULE
#define NANOCHAT_ON_A_GPU(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(Cuda, suite, ::testing::Values(std::string("cuda:0")), \
                           ::nanochat::testing::DeviceTestName())
#else
#define NANOCHAT_ON_A_GPU(suite) static_assert(true)
#endif

// The host with each of its instruction sets, the emulator, a GPU.
#define NANOCHAT_ON_EVERY_DEVICE(suite) \
  NANOCHAT_ON_EVERY_ISA(suite);         \
  NANOCHAT_ON_THE_EMULATOR(suite);      \
  NANOCHAT_ON_A_GPU(suite)

// The same with one instruction set of the host: its best.
#define NANOCHAT_ON_EVERY_KIND_OF_DEVICE(suite)                          \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::Values(std::string()), \
                           ::nanochat::testing::DeviceTestName());       \
  NANOCHAT_ON_THE_EMULATOR(suite);                                       \
  NANOCHAT_ON_A_GPU(suite)
