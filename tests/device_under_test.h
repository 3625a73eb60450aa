// The devices that a test body runs on, by the name that is its parameter:
//   "reference", "avx2", "neon" ...  the host with that instruction set; "" with its best one
//   "emulated"  the CUDA module's own sources, run by an emulator of CUDA's execution model
//   "cuda:0"    a GPU, in builds with NANOCHAT_CUDA; without a GPU its tests are skipped
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <dlfcn.h>
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
  MemoryOptions memory;
  memory.budget_bytes = budget_bytes;
#ifdef NANOCHAT_EMULATED_CUDA_MODULE
  if (device == "emulated") {
    return make_cuda_device_from(NANOCHAT_EMULATED_CUDA_MODULE, "cuda:0", memory, std::move(threads),
                                 std::move(log));
  }
#endif
#ifdef NANOCHAT_CUDA_MODULE
  if (device == "cuda:0") {
    return make_cuda_device_from(NANOCHAT_CUDA_MODULE, device, memory, std::move(threads), std::move(log));
  }
#endif
  return make_cpu_device(Memory::create(std::move(raw), memory), std::move(threads), std::move(log), device);
}

// Holds the devices that take long to make, from their first test to the end of the program.
class KeptDevices final : public ::testing::Environment {
 public:
  void TearDown() override { devices_.clear(); }
  // One that has failed for good is replaced.
  std::shared_ptr<Device> at(const std::string& name) {
    std::shared_ptr<Device>& device = devices_[name];
    try {
      if (device != nullptr) device->synchronize();
    } catch (const Error&) {
      device.reset();
    }
    if (device == nullptr) device = make_device(name);
    return device;
  }

 private:
  std::map<std::string, std::shared_ptr<Device>> devices_;
};
inline KeptDevices* const kKeptDevices =
    static_cast<KeptDevices*>(::testing::AddGlobalTestEnvironment(new KeptDevices));

// One of the host's is new.
inline std::shared_ptr<Device> device_for_test(const std::string& name) {
  return is_cuda(name) ? kKeptDevices->at(name) : make_device(name);
}

// What to say of tests that were to run on a GPU where there is none; else "".
inline std::string reason_to_skip(const std::string& device) {
  if (device != "cuda:0") return "";
#ifdef NANOCHAT_CUDA_MODULE
  // A module that cannot be loaded is a fault of the build.
  static const bool is_loaded = dlopen(NANOCHAT_CUDA_MODULE, RTLD_NOW | RTLD_LOCAL) != nullptr;
  if (!is_loaded) return "";
#endif
  static const std::string reason = [] {
    try {
      kKeptDevices->at("cuda:0");
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

// What to try: all, but where each operation takes a thousand times as long.
template <class T>
std::vector<T> sizes(const std::string& device, std::vector<T> all, std::vector<T> few) {
  return device == "emulated" ? few : all;
}
inline int64_t size(const std::string& device, int64_t usual, int64_t small) {
  return device == "emulated" ? small : usual;
}

}  // namespace nanochat::testing

#define NANOCHAT_SKIP_WITHOUT_A_GPU(device)                                    \
  if (!::nanochat::testing::reason_to_skip(device).empty()) {                  \
    GTEST_SKIP() << "no GPU: " << ::nanochat::testing::reason_to_skip(device); \
  }                                                                            \
  static_assert(true)

namespace nanochat::testing {

// Of suites whose parameter is a device.
class DeviceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() final {
    NANOCHAT_SKIP_WITHOUT_A_GPU(GetParam());
    device_ = device_for_test(GetParam());
    prepare();
  }
  virtual void prepare() {}  // what needs the device

  Device& device() { return *device_; }

  std::vector<int64_t> sizes(std::vector<int64_t> all, std::vector<int64_t> few) const {
    return nanochat::testing::sizes(GetParam(), std::move(all), std::move(few));
  }
  template <class T>
  std::vector<T> sizes(std::vector<T> all, std::vector<T> few) const {
    return nanochat::testing::sizes(GetParam(), std::move(all), std::move(few));
  }
  int64_t size(int64_t usual, int64_t small) const {
    return nanochat::testing::size(GetParam(), usual, small);
  }

  std::shared_ptr<Device> device_;
};

}  // namespace nanochat::testing

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

// For suites whose parameters are one of `values` and a device; name_of(value) is what a test's name has of
// it.
#define NANOCHAT_EACH_ON(prefix, suite, values, name_of, devices)                                         \
  INSTANTIATE_TEST_SUITE_P(prefix, suite,                                                                 \
                           ::testing::Combine(::testing::ValuesIn(values), ::testing::ValuesIn(devices)), \
                           [](const auto& parameter) {                                                    \
                             return name_of(std::get<0>(parameter.param)) + "_" +                         \
                                    ::nanochat::testing::device_test_name(std::get<1>(parameter.param));  \
                           })
#define NANOCHAT_EACH_ON_EVERY_ISA(suite, values, name_of) \
  NANOCHAT_EACH_ON(Cpu, suite, values, name_of, ::nanochat::available_cpu_isas())

#ifdef NANOCHAT_EMULATED_CUDA_MODULE
#define NANOCHAT_EACH_ON_THE_EMULATOR(suite, values, name_of) \
  NANOCHAT_EACH_ON(Emulated, suite, values, name_of, std::vector<std::string>{"emulated"})
#else
#define NANOCHAT_EACH_ON_THE_EMULATOR(suite, values, name_of) static_assert(true)
#endif

#ifdef NANOCHAT_CUDA_MODULE
#define NANOCHAT_EACH_ON_A_GPU(suite, values, name_of) \
  NANOCHAT_EACH_ON(Cuda, suite, values, name_of, std::vector<std::string>{"cuda:0"})
#else
#define NANOCHAT_EACH_ON_A_GPU(suite, values, name_of) static_assert(true)
#endif

#define NANOCHAT_EACH_ON_EVERY_DEVICE(suite, values, name_of) \
  NANOCHAT_EACH_ON_EVERY_ISA(suite, values, name_of);         \
  NANOCHAT_EACH_ON_THE_EMULATOR(suite, values, name_of);      \
  NANOCHAT_EACH_ON_A_GPU(suite, values, name_of)

#define NANOCHAT_EACH_ON_EVERY_KIND_OF_DEVICE(suite, values, name_of)                     \
  NANOCHAT_EACH_ON(Cpu, suite, values, name_of, std::vector<std::string>{std::string()}); \
  NANOCHAT_EACH_ON_THE_EMULATOR(suite, values, name_of);                                  \
  NANOCHAT_EACH_ON_A_GPU(suite, values, name_of)

// The same with one instruction set of the host: its best.
#define NANOCHAT_ON_EVERY_KIND_OF_DEVICE(suite)                          \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, ::testing::Values(std::string()), \
                           ::nanochat::testing::DeviceTestName());       \
  NANOCHAT_ON_THE_EMULATOR(suite);                                       \
  NANOCHAT_ON_A_GPU(suite)
