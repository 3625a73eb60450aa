// How fast a fleet becomes warm and tells its health. One JSON line per figure; medians of runs in turns.
//
//   bench_warm_bench DIR      a fleet of 1 GiB is written into DIR unless it is there
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "encoder/encoder_random.h"
#include "encoder/time_point.h"
#include "warm/fleet.h"
#include "warm/health.h"
#include "warm/sample_fleet.h"

using namespace nanochat;

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kThreads = 2;
constexpr int kRuns = 7;

double seconds_of(const std::function<void()>& body) {
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

std::shared_ptr<Device> make_device() {
  ThreadPool::Options options;
  options.n_threads = kThreads;
  return make_cpu_device(Memory::create(make_host_memory(), {}), std::make_shared<ThreadPool>(options),
                         std::make_shared<Log>(), "");
}

Json bert(int64_t width, int64_t n_layer) {
  return {{"architectures", Json::array({"BertModel"})},
          {"model_type", "bert"},
          {"vocab_size", 30522},
          {"hidden_size", width},
          {"num_hidden_layers", n_layer},
          {"num_attention_heads", width / 64},
          {"intermediate_size", 4 * width},
          {"hidden_act", "gelu"},
          {"max_position_embeddings", 512},
          {"type_vocab_size", 2},
          {"layer_norm_eps", 1e-12},
          {"pad_token_id", 0}};
}

// Two models of BERT's base size and one small: 1.06 GiB of fp32.
std::string write_large_fleet(const std::string& folder) {
  const std::string manifest = join_path(folder, "manifest.json");
  if (file_exists(manifest)) return manifest;
  std::puts("{\"note\": \"writing the fleet\"}");
  Json components = Json::array({});
  const auto add = [&](const char* id, int64_t width, int64_t n_layer) {
    write_random_encoder(join_path(folder, id), bert(width, n_layer), 1, {});
    components.push_back({{"id", id},
                          {"kind", "encoder"},
                          {"path", id},
                          {"weights", "fp32"},
                          {"test", {{"tokens", std::vector<int64_t>{101, 2023, 2003, 102}}, {"max_ms", 60000}}}});
  };
  add("first", 768, 12);
  add("second", 768, 12);
  add("third", 768, 6);
  write_file(manifest, write_json({{"schema", "nanochat.fleet.v1"},
                                   {"name", "one GiB"},
                                   {"config", {{"vram_headroom_bytes", 0}}},
                                   {"components", components}}));
  return manifest;
}

// What loading is held against: the same files read once into small buffers by as many threads.
double read_all(const std::vector<std::string>& paths) {
  constexpr size_t kPiece = size_t{1} << 20;
  struct Piece {
    int descriptor;
    off_t offset;
  };
  std::vector<Piece> pieces;
  std::vector<int> descriptors;
  for (const std::string& path : paths) {
    const int descriptor = ::open(path.c_str(), O_RDONLY);
    descriptors.push_back(descriptor);
    for (size_t at = 0; at < std::filesystem::file_size(path); at += kPiece) {
      pieces.push_back({descriptor, static_cast<off_t>(at)});
    }
  }
  std::atomic<size_t> next{0};
  const auto work = [&] {
    std::vector<std::byte> buffer(kPiece);
    for (size_t i = next.fetch_add(1); i < pieces.size(); i = next.fetch_add(1)) {
      if (::pread(pieces[i].descriptor, buffer.data(), kPiece, pieces[i].offset) < 0) std::abort();
    }
  };
  const double seconds = seconds_of([&] {
    std::vector<std::thread> threads;
    for (int i = 1; i < kThreads; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
  });
  for (const int descriptor : descriptors) ::close(descriptor);
  return seconds;
}

double warm_once(const std::string& manifest, WeightChecks checks) {
  const auto device = make_device();
  const auto fleet = Fleet::open(device, manifest, {});
  WarmConfig config = fleet->config();
  config.checks = checks;
  config.test_inference = checks == WeightChecks::all;
  std::vector<RegistryItem> items;
  for (size_t i = 0; i < fleet->registry().size(); ++i) {
    items.push_back({fleet->registry().spec(i), fleet->registry().plan(i)});
  }
  const auto registry = Registry::create(std::move(items));
  return seconds_of([&] { load_fleet(*registry, device, config, {}); });
}

void bench_load(const std::string& folder) {
  const std::string manifest = write_large_fleet(folder);
  const FleetPlan plan = Fleet::open(make_device(), manifest, {})->plan();
  std::vector<std::string> files;
  for (const auto& part : plan.parts)
    files.push_back(join_path(join_path(folder, part.id), "model.safetensors"));
  uint64_t n_bytes = 0;
  for (const std::string& file : files) n_bytes += std::filesystem::file_size(file);
  std::vector<double> read, checked, bare;
  for (int i = 0; i < kRuns; ++i) {
    read.push_back(read_all(files));
    checked.push_back(warm_once(manifest, WeightChecks::all));
    bare.push_back(warm_once(manifest, WeightChecks::none));
  }
  const auto bytes = static_cast<double>(n_bytes);
  std::printf(
      "{\"case\": \"load\", \"bytes\": %.0f, \"read_gb_s\": %.2f, \"load_gb_s\": %.2f, \"bare_gb_s\": %.2f, "
      "\"share_of_read\": %.2f, \"checks_cost\": %.3f}\n",
      bytes, bytes / median(read) / 1e9, bytes / median(checked) / 1e9, bytes / median(bare) / 1e9,
      median(read) / median(checked), median(checked) / median(bare) - 1);
}

void ask(const Fleet& fleet) {
  const std::string_view texts[] = {"The quick brown fox jumps over the lazy dog"};
  const TimePoint times[] = {{1767441600, 0.0}};
  fleet.fuse({"", texts, times, {}}, {});
}

std::shared_ptr<Fleet> warm_sample(const std::string& folder) {
  WarmSettings settings;
  settings.dump_path = "";
  const auto device = make_device();
  const std::string manifest = join_path(folder, "manifest.json");
  if (!file_exists(manifest)) write_sample_fleet(device, folder, 1, {});
  auto fleet = Fleet::open(device, manifest, settings);
  fleet->warm({});
  return fleet;
}

// TC-WARM-006: the first request against the hundredth to the two hundredth.
void bench_first_request(const std::string& folder) {
  std::vector<double> ratios;
  for (int restart = 0; restart < 21; ++restart) {
    const auto fleet = warm_sample(folder);
    std::vector<double> seconds;
    for (int i = 0; i <= 200; ++i) seconds.push_back(seconds_of([&] { ask(*fleet); }));
    double mean = 0;
    for (int i = 100; i <= 200; ++i) mean += seconds[static_cast<size_t>(i)] / 101;
    ratios.push_back(seconds.front() / mean);
  }
  std::printf(
      "{\"case\": \"first request / mean of 100 to 200\", \"median\": %.3f, \"least\": %.3f, \"most\": "
      "%.3f}\n",
      median(ratios), percentile(ratios, 0), percentile(ratios, 1));
}

void bench_health(const std::string& folder) {
  const auto fleet = warm_sample(folder);
  std::atomic<bool> stop{false};
  std::vector<std::thread> askers;
  for (int i = 0; i < kThreads; ++i) {
    askers.emplace_back([&] {
      while (!stop.load()) ask(*fleet);
    });
  }
  const auto measure = [&](int n, const std::function<void()>& call) {
    std::vector<double> ms;
    for (int i = 0; i < n; ++i) ms.push_back(seconds_of(call) * 1e3);
    return ms;
  };
  const std::vector<double> busy = measure(20000, [&] { check_quick(*fleet); });
  stop.store(true);
  for (std::thread& asker : askers) asker.join();
  const std::vector<double> idle = measure(20000, [&] { check_quick(*fleet); });
  const std::vector<double> full = measure(50, [&] { check_full(*fleet, {}); });
  std::printf(
      "{\"case\": \"quick health, ms\", \"idle_p50\": %.4f, \"idle_p999\": %.4f, \"busy_p50\": %.4f, "
      "\"busy_p999\": %.4f}\n",
      percentile(idle, 0.5), percentile(idle, 0.999), percentile(busy, 0.5), percentile(busy, 0.999));
  std::printf("{\"case\": \"full health, ms\", \"p50\": %.2f, \"most\": %.2f}\n", percentile(full, 0.5),
              percentile(full, 1));
}

void bench_requests(const std::string& folder) {
  const auto fleet = warm_sample(folder);
  std::vector<double> ms;
  for (int i = 0; i < 10000; ++i) ms.push_back(seconds_of([&] { ask(*fleet); }) * 1e3);
  double mean = 0;
  for (const double each : ms) mean += each / static_cast<double>(ms.size());
  const auto n_spikes = std::ranges::count_if(ms, [&](double each) { return each > 2 * mean; });
  std::printf(
      "{\"case\": \"10,000 fused requests, ms\", \"mean\": %.3f, \"p99\": %.3f, \"most\": %.3f, "
      "\"over_twice_the_mean\": %td}\n",
      mean, percentile(ms, 0.99), percentile(ms, 1), n_spikes);
}

}  // namespace

int main(int n, char** arguments) {
  if (n != 2) {
    std::fputs("usage: bench_warm_bench DIR\n", stderr);
    return 2;
  }
  try {
    const std::string folder = arguments[1], sample = join_path(folder, "sample");
    bench_first_request(sample);
    bench_requests(sample);
    bench_health(sample);
    bench_load(folder);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
