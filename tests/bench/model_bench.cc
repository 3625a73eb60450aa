// Decode, prefill and load of a synthetic model against what this machine can do, measured in the same run.
// One JSON line per figure.
//
//   model_bench [shape=v0-d20] [dtype=bf16|f32] [isa] [folder for the saved model]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/model.h"

using namespace nanochat;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The smallest of several runs: the one that the machine's other work disturbed least.
template <class F>
double best_seconds(int n_runs, const F& run) {
  double best = 1e300;
  for (int i = 0; i < n_runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

double arithmetic_rate(const Model& model, const MeasuredRates& rates) {
  if (model.weight_dtype() == WeightDtype::i8) return rates.int8_ops_per_second;
  return model.weight_dtype() == WeightDtype::bf16 ? rates.bf16_flops_per_second : rates.f32_flops_per_second;
}

void decode(const std::shared_ptr<const Model>& model, const MeasuredRates& rates, int64_t batch) {
  constexpr int64_t kContext = 128;
  std::vector<int32_t> prompt(kContext, 17);
  std::vector<KvCache> caches;
  std::vector<SequenceInput> inputs;
  for (int64_t i = 0; i < batch; ++i) caches.emplace_back(model, kContext + 1);
  for (KvCache& cache : caches) {
    const SequenceInput input{&cache, prompt, LogitRows::none};
    forward(*model, {&input, 1}, nullptr, {});
    inputs.push_back({&cache, std::span(prompt).first(1), LogitRows::last});
  }
  std::vector<float> logits(static_cast<size_t>(batch * model->config().vocab_size));
  const double seconds = best_seconds(8, [&] {
    forward(*model, inputs, logits.data(), {});
    for (KvCache& cache : caches) cache.truncate(kContext);
  });
  const double bytes = static_cast<double>(model->plan().bytes_per_decoded_token);
  const double rate = arithmetic_rate(*model, rates);
  std::printf(
      "{\"bench\": \"decode\", \"batch\": %ld, \"context\": %ld, \"ms\": %.2f, \"tokens_per_second\": %.2f, "
      "\"share_of_read_bandwidth\": %.3f, \"share_of_flops\": %.3f}\n",
      static_cast<long>(batch), static_cast<long>(kContext), 1e3 * seconds,
      static_cast<double>(batch) / seconds, bytes / seconds / rates.read_bytes_per_second,
      static_cast<double>(batch) * static_cast<double>(model->plan().flops_per_decoded_token) / seconds /
          rate);
}

void prefill(const std::shared_ptr<const Model>& model, const MeasuredRates& rates, int64_t n) {
  std::vector<int32_t> prompt(static_cast<size_t>(n), 17);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(i * 37 % 1000);
  KvCache cache(model, n);
  std::vector<float> logits(static_cast<size_t>(model->config().vocab_size));
  const SequenceInput input{&cache, prompt, LogitRows::last};
  const double seconds = best_seconds(3, [&] {
    cache.clear();
    forward(*model, {&input, 1}, logits.data(), {});
  });
  // The head runs for one row only.
  const double head = 2.0 * static_cast<double>(model->config().vocab_size * model->config().n_embd);
  const double flops =
      (static_cast<double>(model->plan().flops_per_decoded_token) - head) * static_cast<double>(n) + head;
  const double rate = arithmetic_rate(*model, rates);
  std::printf(
      "{\"bench\": \"prefill\", \"tokens\": %ld, \"ms\": %.1f, \"tokens_per_second\": %.1f, "
      "\"share_of_flops\": %.3f}\n",
      static_cast<long>(n), 1e3 * seconds, static_cast<double>(n) / seconds, flops / seconds / rate);
}

void load(const std::shared_ptr<const Model>& model, const MeasuredRates& rates, const std::string& folder) {
  const auto start = std::chrono::steady_clock::now();
  model->save(folder, {});
  const double save_seconds = seconds_since(start);
  const double bytes = static_cast<double>(model->plan().file_bytes);
  std::printf("{\"bench\": \"save\", \"gigabytes\": %.3f, \"gigabytes_per_second\": %.2f}\n", bytes / 1e9,
              bytes / 1e9 / save_seconds);
  double cpu_seconds = 1e300;
  const double seconds = best_seconds(3, [&] {
    const std::clock_t cpu_start = std::clock();
    if (!(Model::load(model->shared_device(), folder, {}, {})->checksum() == model->checksum())) std::abort();
    cpu_seconds = std::min(cpu_seconds, static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
  });
  std::printf(
      "{\"bench\": \"load\", \"gigabytes\": %.3f, \"seconds\": %.3f, \"cpu_seconds\": %.3f, "
      "\"gigabytes_per_second\": %.2f, \"share_of_read_bandwidth\": %.3f}\n",
      bytes / 1e9, seconds, cpu_seconds, bytes / 1e9 / seconds,
      bytes / seconds / rates.read_bytes_per_second);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string shape = argc > 1 ? argv[1] : "v0-d20";
  const std::string dtype = argc > 2 ? argv[2] : "bf16";
  const std::string isa = argc > 3 ? argv[3] : "";
  const std::string folder =
      argc > 4 ? argv[4] : (std::filesystem::temp_directory_path() / "nanochat-model-bench").string();
  try {
    const auto device =
        make_cpu_device(Memory::create(make_host_memory(), {}),
                        std::make_shared<ThreadPool>(ThreadPool::Options{}), std::make_shared<Log>(), isa);
    const MeasuredRates rates = device->kernels().measure_rates(*device);
    std::printf(
        "{\"bench\": \"machine\", \"isa\": \"%s\", \"threads\": %d, \"read_gigabytes_per_second\": %.2f, "
        "\"f32_gigaflops\": %.1f, \"bf16_gigaflops\": %.1f, \"int8_gigaops\": %.1f}\n",
        device->isa().c_str(), device->threads().n_threads(), rates.read_bytes_per_second / 1e9,
        rates.f32_flops_per_second / 1e9, rates.bf16_flops_per_second / 1e9, rates.int8_ops_per_second / 1e9);
    const ModelOptions options{dtype == "f32"    ? WeightDtype::f32
                               : dtype == "int8" ? WeightDtype::i8
                                                 : WeightDtype::bf16};
    const auto model = Model::create_random(device, nanochat_shape(shape), 1, options, {});
    std::printf("{\"bench\": \"create_random\", \"shape\": \"%s\", \"dtype\": \"%s\", \"seconds\": %.2f}\n",
                shape.c_str(), dtype.c_str(), model->load_seconds());
    for (const int64_t batch : {1, 4, 16}) decode(model, rates, batch);
    for (const int64_t n : {64, 512}) prefill(model, rates, n);
    if (dtype != "int8") load(model, rates, folder);
    std::filesystem::remove_all(folder);
  } catch (const Error& error) {
    std::fprintf(stderr, "model_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
