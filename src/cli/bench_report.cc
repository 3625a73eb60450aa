#include <algorithm>
#include <string_view>

#include "bench.h"
#include "stream.h"

namespace nanochat::cli {

namespace {

double share(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

}  // namespace

BenchedModel open_benched(const Bench& bench) {
  BenchedModel opened;
  opened.runtime = open_runtime(bench.model);
  opened.model = bench.synthetic.empty() ? open_model(opened.runtime, bench.model)
                                         : make_random_model(opened.runtime, bench.synthetic, bench.model);
  opened.info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, opened.model.get());
  return opened;
}

uint64_t peak_memory_bytes() {
  constexpr std::string_view kKey = "VmHWM:";
  constexpr uint64_t kUnitBytes = 1024;
  LineReader lines("/proc/self/status");
  for (std::string_view line; lines.next(line);) {
    if (line.starts_with(kKey)) return std::stoull(std::string(line.substr(kKey.size()))) * kUnitBytes;
  }
  return 0;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

TokenList some_tokens(int64_t n, int64_t vocab_size, int64_t first) {
  constexpr int64_t kStride = 7919;
  TokenList ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((i * kStride + first) % vocab_size));
  return ids;
}

BenchJson bench_facts(const char* kind, const Bench& bench, const nanochat_runtime* runtime,
                      const nanochat_model_info& info) {
  return {{"schema", "nanochat-bench-1"},
          {"bench", kind},
          {"model", bench.synthetic.empty() ? bench.model.directory : bench.synthetic},
          {"version", nanochat_version_string()},
          {"device", nanochat_runtime_device(runtime)},
          {"isa", nanochat_runtime_isa(runtime)},
          {"threads", nanochat_runtime_n_threads(runtime)},
          {"dtype", dtype_name(info.weights)},
          {"kv_dtype", bench.model.kv_dtype.empty() ? "f32" : bench.model.kv_dtype},
          {"parameters", info.parameters},
          {"weight_bytes", info.weight_bytes}};
}

Ceilings measure_ceilings(const nanochat_runtime* runtime, int32_t weights) {
  const auto rates = fill<nanochat_rates_info>(Exit::running, nanochat_runtime_measure_rates, runtime);
  const double bf16_or_f32 = weights == NANOCHAT_WEIGHTS_BF16 || weights == NANOCHAT_WEIGHTS_FP8
                                 ? rates.bf16_flops_per_second
                                 : rates.f32_flops_per_second;
  return {rates.read_bytes_per_second,
          weights == NANOCHAT_WEIGHTS_INT8 ? rates.int8_ops_per_second : bf16_or_f32};
}

void add_speed(BenchJson& facts, const Speed& speed, const Ceilings& ceilings) {
  if (speed.tokens_per_second > 0) facts["tokens_per_second"] = speed.tokens_per_second;
  facts["bytes_per_second"] = speed.bytes_per_second;
  facts["bandwidth_share"] = share(speed.bytes_per_second, ceilings.bytes_per_second);
  facts["arithmetic_share"] = share(speed.flops_per_second, ceilings.flops_per_second);
}

void add_ceilings(BenchJson& facts, const Ceilings& ceilings) {
  facts["machine_read_bytes_per_second"] = ceilings.bytes_per_second;
  facts["machine_flops_per_second"] = ceilings.flops_per_second;
}

void print_facts(const BenchJson& facts, const Bench& bench) {
  if (!bench.json) {
    std::string text;
    for (const auto& [name, value] : facts.items()) text += name + ": " + value.dump() + "\n";
    write_stdout(text);
  }
  write_stdout(facts.dump() + "\n");
}

void report(BenchJson facts, const Speed& speed, const Bench& bench, const nanochat_runtime* runtime,
            int32_t weights) {
  facts["peak_memory_bytes"] = peak_memory_bytes();
  const Ceilings ceilings = measure_ceilings(runtime, weights);
  add_speed(facts, speed, ceilings);
  add_ceilings(facts, ceilings);
  print_facts(facts, bench);
}

}  // namespace nanochat::cli
