#include "kernels/cpu_device.h"

#include <cstring>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "base/error.h"
#include "kernels/cpu/reference.h"
#include "kernels/simd/bodies.h"
#include "kernels/simd_kernels.h"

namespace nanochat {

namespace {

struct CpuIsa {
  const char* name;
  bool available;
  const SimdBodies* bodies;
};

// In ascending order of speed. __builtin_cpu_supports asks the processor and whether the system saves its
// registers. Every processor with AVX2 has F16C (clang 14 cannot ask for it). Every aarch64 one has NEON;
// what came later is in the words that the kernel hands to each process.
std::vector<CpuIsa> isas_of_this_machine() {
  std::vector<CpuIsa> isas = {{"reference", true, nullptr}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  isas.push_back({"avx2", avx2, &kAvx2Bodies});
  isas.push_back({"avx512", avx512, &kAvx512Bodies});
  isas.push_back({"avx512_bf16", bf16, &kAvx512Bf16Bodies});
#elif defined(__aarch64__)
  const bool dot = (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  const bool bf16 = dot && (::getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
  isas.push_back({"neon", true, &kNeonBodies});
  isas.push_back({"neon_dot", dot, &kNeonDotBodies});
  isas.push_back({"neon_bf16", bf16, &kNeonBf16Bodies});
#endif
  return isas;
}

Kernels simd_kernels() {
  Kernels table = reference_kernels();  // what gains nothing from other instructions stays
  table.pack_rows = simd::pack_rows;
  table.unpack_rows = simd::unpack_rows;
  table.find_not_finite = simd::find_not_finite;
  table.embed = simd::embed;
  table.linear = simd::linear;
  table.rms_norm = simd::rms_norm;
  table.layer_norm = simd::layer_norm;
  table.rope = simd::rope;
  table.kv_append = simd::kv_append;
  table.attention = simd::attention;
  table.relu2 = simd::relu2;
  table.swiglu = simd::swiglu;
  table.scale_add = simd::scale_add;
  table.bias_activation = simd::bias_activation;
  table.softcap = simd::softcap;
  table.softmax_stats = simd::softmax_stats;
  table.value_embedding = simd::value_embedding;
  table.smear = simd::smear;
  table.measure_rates = simd::measure_rates;
  return table;
}

}  // namespace

Kernels reference_kernels() {
  return {.pack_rows = reference::pack_rows,
          .unpack_rows = reference::unpack_rows,
          .find_not_finite = reference::find_not_finite,
          .hash_pieces = reference::hash_pieces,
          .embed = reference::embed,
          .linear = reference::linear,
          .rms_norm = reference::rms_norm,
          .layer_norm = reference::layer_norm,
          .rope = reference::rope,
          .kv_append = reference::kv_append,
          .attention = reference::attention,
          .pool_rows = reference::pool_rows,
          .relu2 = reference::relu2,
          .swiglu = reference::swiglu,
          .scale_add = reference::scale_add,
          .multiply = reference::multiply,
          .bias_activation = reference::bias_activation,
          .softcap = reference::softcap,
          .softmax_stats = reference::softmax_stats,
          .select_top = reference::select_top,
          .value_embedding = reference::value_embedding,
          .smear = reference::smear,
          .measure_rates = reference::measure_rates};
}

CpuDevice::CpuDevice(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads,
                     std::shared_ptr<Log> log, std::string isa, const SimdBodies* bodies)
    : Device(std::move(memory), std::move(threads), std::move(log)),
      isa_(std::move(isa)),
      bodies_(bodies),
      kernels_(bodies == nullptr ? reference_kernels() : simd_kernels()) {}

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
