#include "kernels/cpu_device.h"

#include <cstring>

#include "base/error.h"
#include "kernels/cpu/reference.h"

namespace nanochat {

namespace {

struct CpuIsa {
  const char* name;
  bool available;
  const SimdBodies* bodies;
};

// In ascending order of speed.
std::vector<CpuIsa> isas_of_this_machine() {
  std::vector<CpuIsa> isas = {{"reference", true, nullptr}};
  return isas;
}

}  // namespace

Kernels reference_kernels() {
  return {.pack_rows = reference::pack_rows,
          .unpack_rows = reference::unpack_rows,
          .find_not_finite = reference::find_not_finite,
          .embed = reference::embed,
          .linear = reference::linear,
          .rms_norm = reference::rms_norm,
          .rope = reference::rope,
          .kv_append = reference::kv_append,
          .attention = reference::attention,
          .relu2 = reference::relu2,
          .swiglu = reference::swiglu,
          .scale_add = reference::scale_add,
          .softcap = reference::softcap,
          .value_embedding = reference::value_embedding,
          .smear = reference::smear,
          .measure_rates = reference::measure_rates};
}

CpuDevice::CpuDevice(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads,
                     std::shared_ptr<Log> log, std::string isa, const SimdBodies* bodies)
    : Device(std::move(memory), std::move(threads), std::move(log)),
      isa_(std::move(isa)),
      bodies_(bodies),
      kernels_(reference_kernels()) {}

void CpuDevice::copy_to_device(void* target, const void* source, size_t bytes) {
  copy(target, source, bytes);
}

void CpuDevice::copy_to_host(void* target, const void* source, size_t bytes) { copy(target, source, bytes); }

void CpuDevice::copy(void* target, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(target, source, bytes);
}

std::vector<std::string> available_cpu_isas() {
  std::vector<std::string> names;
  for (const CpuIsa& isa : isas_of_this_machine()) {
    if (isa.available) names.emplace_back(isa.name);
  }
  return names;
}

std::shared_ptr<Device> make_cpu_device(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads,
                                        std::shared_ptr<Log> log, const std::string& isa) {
  const std::vector<CpuIsa> isas = isas_of_this_machine();
  const CpuIsa* chosen = nullptr;
  std::string available;
  bool known = false;
  for (const CpuIsa& candidate : isas) {
    if (isa == candidate.name) known = true;
    if (!candidate.available) continue;
    available += available.empty() ? candidate.name : std::string(", ") + candidate.name;
    if (isa.empty() || isa == candidate.name) chosen = &candidate;
  }
  if (chosen == nullptr) {
    throw Error(Status::unsupported)
        .subject(isa)
        .say("instruction set '{}' {}; this machine has: {}", isa,
             known ? "is not available on this machine" : "is unknown", available);
  }
  return std::make_shared<CpuDevice>(std::move(memory), std::move(threads), std::move(log), chosen->name,
                                     chosen->bodies);
}

}  // namespace nanochat
