#include <cstdlib>

#include "capi/arguments.h"
#include "capi/default_device.h"
#include "capi/guard.h"
#include "kernels/cuda_module.h"
#include "memory/callback_memory.h"
#include "tensor/kernels.h"

using namespace nanochat;

namespace {

constexpr size_t kRuntimeOptionsSize = 112;
constexpr size_t kMemoryInfoSize = 72;
constexpr size_t kRatesInfoSize = 32;

std::shared_ptr<Log> make_log(const nanochat_runtime_options& options) {
  if (options.log == nullptr) return std::make_shared<Log>();
  const auto level = options.log_level == NANOCHAT_LOG_DEFAULT ? LogLevel::warning
                                                               : static_cast<LogLevel>(options.log_level);
  return std::make_shared<Log>(
      [callback = options.log, user_data = options.log_user_data](LogLevel at, std::string_view line) {
        const std::string terminated(line);
        callback(static_cast<int32_t>(at), terminated.c_str(), terminated.size(), user_data);
      },
      level);
}

TrackerOptions make_tracker_options(const nanochat_runtime_options& options) {
  TrackerOptions tracker;
  if (options.tracking_level != NANOCHAT_TRACKING_DEFAULT) {
    tracker.level = static_cast<TrackingLevel>(options.tracking_level - NANOCHAT_TRACKING_OFF);
  }
  if (options.pressure != nullptr) {
    tracker.on_pressure = [callback = options.pressure,
                           user_data = options.pressure_user_data](const PressureEvent& event) {
      callback(static_cast<int32_t>(event.level), event.used_bytes, event.used_bytes + event.available_bytes,
               user_data);
    };
  }
  return tracker;
}

std::shared_ptr<RawMemory> make_raw_memory(const nanochat_runtime_options& options) {
  if (options.allocate == nullptr && options.free == nullptr) return make_host_memory();
  return std::make_shared<CallbackMemory>(
      MemoryCallbacks{options.allocate, options.free, options.allocator_user_data});
}

std::shared_ptr<ThreadPool> make_threads(const nanochat_runtime_options& options) {
  constexpr int32_t kMostThreads = 1024;
  require_enum(options.n_threads, kMostThreads, "nanochat_runtime_options.n_threads");
  require_enum(options.spin_microseconds, 1'000'000, "nanochat_runtime_options.spin_microseconds");
  const std::vector<int32_t> cpus =
      import_array(options.cpu_affinity, options.n_cpu_affinity, "nanochat_runtime_options.cpu_affinity");
  ThreadPool::Options pool;
  pool.n_threads = options.n_threads;
  pool.spin_microseconds = options.spin_microseconds;
  pool.cpus = cpus.empty() ? nullptr : cpus.data();
  pool.n_cpus = static_cast<int>(cpus.size());
  return std::make_shared<ThreadPool>(pool);
}

std::shared_ptr<const RuntimeCore> make_core(const nanochat_runtime_options& options) {
  require_enum(options.log_level, NANOCHAT_LOG_DEBUG, "nanochat_runtime_options.log_level");
  require_enum(options.tracking_level, NANOCHAT_TRACKING_DEBUG, "nanochat_runtime_options.tracking_level");
  auto core = std::make_shared<RuntimeCore>();
  core->log = make_log(options);
  const MemoryOptions memory{options.memory_budget_bytes, make_tracker_options(options)};
  core->threads = make_threads(options);
  require_enum(options.arithmetic, NANOCHAT_ARITHMETIC_FAST, "nanochat_runtime_options.arithmetic");
  require_zero(options.reserved, "nanochat_runtime_options.reserved");
  const std::string device = options.device == nullptr ? default_device(*core->log) : options.device;
  if (device == "cpu") {
    const char* isa = std::getenv("NANOCHAT_CPU");
    core->device = make_cpu_device(Memory::create(make_raw_memory(options), memory), core->threads, core->log,
                                   isa == nullptr ? "" : isa);
  } else if (device == "cuda" || device.starts_with("cuda:")) {
    core->device = make_cuda_device(device, memory, core->threads, core->log);
  } else {
    throw Error(Status::invalid_argument)
        .subject("nanochat_runtime_options.device")
        .say("device is '{}', expected 'cpu', 'cuda' or 'cuda:N'", device);
  }
  if (options.arithmetic == NANOCHAT_ARITHMETIC_FAST) core->device->use_fast_products();
  return core;
}

}  // namespace

extern "C" {

void nanochat_runtime_options_init(nanochat_runtime_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_runtime_create(const nanochat_runtime_options* options,
                                        nanochat_runtime** out_runtime, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_runtime, "out_runtime");
    const auto known = import_options(options, "nanochat_runtime_options", kRuntimeOptionsSize);
    *out_runtime = new nanochat_runtime{make_core(known)};
  });
}

void nanochat_runtime_free(nanochat_runtime* runtime) { delete runtime; }

const char* nanochat_runtime_device(const nanochat_runtime* runtime) {
  return runtime == nullptr ? "" : runtime->core->device->name().c_str();
}

const char* nanochat_runtime_isa(const nanochat_runtime* runtime) {
  return runtime == nullptr ? "" : runtime->core->device->isa().c_str();
}

int32_t nanochat_runtime_n_threads(const nanochat_runtime* runtime) {
  return runtime == nullptr ? 0 : runtime->core->threads->n_threads();
}

nanochat_status nanochat_runtime_memory(const nanochat_runtime* runtime, nanochat_memory_info* info,
                                        nanochat_error** error) {
  return guard(error, [&] {
    const Memory& memory = require_handle(runtime, "runtime").core->device->memory();
    require_info(info, "nanochat_memory_info", kMemoryInfoSize);
    const MemoryStats stats = memory.stats();
    export_info({0, stats.used_bytes, stats.high_water_bytes, stats.budget_bytes, stats.model_bytes,
                 stats.working_bytes, stats.reclaimable_bytes, stats.device_total_bytes,
                 stats.device_available_bytes},
                info);
  });
}

nanochat_status nanochat_runtime_reclaim(const nanochat_runtime* runtime, nanochat_error** error) {
  return guard(error, [&] { require_handle(runtime, "runtime").core->device->memory().reclaim(); });
}

nanochat_status nanochat_runtime_memory_report(const nanochat_runtime* runtime, nanochat_text** out_text,
                                               nanochat_error** error) {
  return guard(error, [&] {
    Memory& memory = require_handle(runtime, "runtime").core->device->memory();
    require_pointer(out_text, "out_text");
    *out_text = make_text(memory.tracker().to_json());
  });
}

nanochat_status nanochat_runtime_measure_rates(const nanochat_runtime* runtime, nanochat_rates_info* info,
                                               nanochat_error** error) {
  return guard(error, [&] {
    Device& device = *require_handle(runtime, "runtime").core->device;
    require_info(info, "nanochat_rates_info", kRatesInfoSize);
    const MeasuredRates rates = device.kernels().measure_rates(device);
    export_info({0, rates.read_bytes_per_second, rates.f32_flops_per_second, rates.bf16_flops_per_second,
                 rates.int8_ops_per_second},
                info);
  });
}

}  // extern "C"
