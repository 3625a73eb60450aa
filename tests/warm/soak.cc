// The sample fleet under load for as long as it is told to (TC-WARM-012): 100 requests per second, addresses
// and answers compared, latencies reported every minute.
//
//   warm_soak [--hours H] [--rate R] DIR      DIR: where the fleet lies, or is written first
#include <nanochat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using std::chrono::steady_clock;

struct Options {
  double hours = 24.0, rate = 100.0;
  std::string folder;
};

[[noreturn]] void fail(const char* what, nanochat_error* error) {
  std::fprintf(stderr, "warm_soak: %s: %s\n", what, nanochat_error_message(error));
  std::exit(nanochat_status_exit_code(nanochat_error_status(error)));
}

Options read_options(int n, char** arguments) {
  Options options;
  for (int i = 1; i < n; ++i) {
    if (std::strcmp(arguments[i], "--hours") == 0 && i + 1 < n) {
      options.hours = std::atof(arguments[++i]);
    } else if (std::strcmp(arguments[i], "--rate") == 0 && i + 1 < n) {
      options.rate = std::atof(arguments[++i]);
    } else {
      options.folder = arguments[i];
    }
  }
  if (options.folder.empty() || !(options.hours > 0) || !(options.rate > 0)) {
    std::fputs("usage: warm_soak [--hours H] [--rate R] DIR\n", stderr);
    std::exit(2);
  }
  return options;
}

struct Places {
  std::vector<uint64_t> addresses;
  bool operator==(const Places&) const = default;
};

Places places(const nanochat_registry* fleet) {
  Places all;
  for (size_t i = 0; i < nanochat_registry_count(fleet); ++i) {
    nanochat_component_info info = {};
    info.struct_size = sizeof info;
    nanochat_error* error = nullptr;
    if (nanochat_registry_describe(fleet, i, &info, &error) != NANOCHAT_OK) fail("describe", error);
    all.addresses.push_back(info.address);
  }
  return all;
}

std::vector<float> ask(const nanochat_registry* fleet) {
  const char* text = "The quick brown fox jumps over the lazy dog";
  const double time = 1767441600.0, position = 17.0;
  nanochat_embeddings* fused = nullptr;
  nanochat_error* error = nullptr;
  if (nanochat_registry_fuse_text(fleet, nullptr, &text, nullptr, &time, &position, 1, nullptr, &fused,
                                  &error) != NANOCHAT_OK) {
    fail("fuse", error);
  }
  const float* values = nanochat_embeddings_values(fused, 0);
  std::vector<float> copy(values, values + nanochat_embeddings_width(fused));
  nanochat_embeddings_free(fused);
  return copy;
}

double percentile(std::vector<double>& ms, double share) {
  const auto at = static_cast<ptrdiff_t>(share * static_cast<double>(ms.size() - 1));
  std::nth_element(ms.begin(), ms.begin() + at, ms.end());
  return ms[static_cast<size_t>(at)];
}

}  // namespace

int main(int n, char** arguments) {
  const Options options = read_options(n, arguments);
  nanochat_error* error = nullptr;
  nanochat_runtime* runtime = nullptr;
  if (nanochat_runtime_create(nullptr, &runtime, &error) != NANOCHAT_OK) fail("runtime", error);
  const std::string manifest = options.folder + "/manifest.json";
  if (std::FILE* there = std::fopen(manifest.c_str(), "rb")) {
    std::fclose(there);
  } else if (nanochat_warm_create_sample(runtime, options.folder.c_str(), 1, nullptr, &error) !=
             NANOCHAT_OK) {
    fail("sample", error);
  }
  nanochat_registry* fleet = nullptr;
  if (nanochat_warm_load(runtime, manifest.c_str(), nullptr, &fleet, &error) != NANOCHAT_OK)
    fail("warm", error);
  if (nanochat_registry_verify(fleet, nullptr, &error) != NANOCHAT_OK) fail("verify", error);

  const Places begin = places(fleet);
  const std::vector<float> answer = ask(fleet);
  const auto started = steady_clock::now();
  const auto end = started + std::chrono::duration_cast<steady_clock::duration>(
                                 std::chrono::duration<double>(options.hours * 3600));
  const auto step =
      std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(1 / options.rate));
  std::vector<double> ms;
  uint64_t n_requests = 0, n_late = 0;
  auto next = started, report = started + std::chrono::minutes(1);
  while (next < end) {
    std::this_thread::sleep_until(next);
    if (steady_clock::now() > next + step) ++n_late;
    const auto before = steady_clock::now();
    if (ask(fleet) != answer) {
      std::fprintf(stderr, "warm_soak: request %llu has another answer\n",
                   static_cast<unsigned long long>(n_requests));
      return 1;
    }
    ms.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - before).count());
    ++n_requests;
    next += step;
    if (next < report && next < end) continue;
    report += std::chrono::minutes(1);
    if (places(fleet) != begin) {
      std::fputs("warm_soak: an address has changed\n", stderr);
      return 1;
    }
    if (nanochat_registry_verify(fleet, nullptr, &error) != NANOCHAT_OK) fail("verify", error);
    std::printf(
        "{\"requests\": %llu, \"late\": %llu, \"ms_p50\": %.3f, \"ms_p99\": %.3f, \"ms_max\": %.3f}\n",
        static_cast<unsigned long long>(n_requests), static_cast<unsigned long long>(n_late),
        percentile(ms, 0.5), percentile(ms, 0.99), percentile(ms, 1.0));
    std::fflush(stdout);
    ms.clear();
  }
  nanochat_registry_free(fleet);
  nanochat_runtime_free(runtime);
  return 0;
}
