// From nothing to the first token: runtime, model, tokenizer, session and first pull, each timed. The first
// round of a process is the cold one (page cache aside); the median of the others is printed too. One JSON
// line each.
//
//   bench_first_token MODEL_DIRECTORY [ROUNDS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "infer/generation.h"
#include "memory/memory.h"
#include "tensor/device.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Round {
  double device_ms, model_ms, tokenizer_ms, first_token_ms, total_ms, next_token_ms;
};

double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

Round run(const std::string& directory) {
  using namespace nanochat;
  const auto start = Clock::now();
  const auto device =
      make_cpu_device(Memory::create(make_host_memory(), {}),
                      std::make_shared<ThreadPool>(ThreadPool::Options{}), std::make_shared<Log>(), "");
  const auto has_device = Clock::now();
  const auto model = Model::load(device, directory, {}, {});
  const auto has_model = Clock::now();
  const auto tokenizer = load_tokenizer(directory + "/tokenizer.json");
  const auto has_tokenizer = Clock::now();
  GenerationOptions options;
  options.max_tokens = 101;
  Generation generation(std::make_shared<Session>(model, 0), tokenizer, {}, options);
  GenerationEvent event = generation.next({});
  const auto has_token = Clock::now();
  while (event.finish == Finish::none) event = generation.next({});
  const double decode_ms = milliseconds(has_token, Clock::now());
  return {milliseconds(start, has_device),        milliseconds(has_device, has_model),
          milliseconds(has_model, has_tokenizer), milliseconds(has_tokenizer, has_token),
          milliseconds(start, has_token),         decode_ms / static_cast<double>(event.index)};
}

void print(const char* which, const Round& round) {
  std::printf(
      "{\"bench\": \"first_token\", \"which\": \"%s\", \"device_ms\": %.3f, \"model_ms\": %.3f, "
      "\"tokenizer_ms\": %.3f, \"first_token_ms\": %.3f, \"total_ms\": %.3f, \"next_token_ms\": %.4f}\n",
      which, round.device_ms, round.model_ms, round.tokenizer_ms, round.first_token_ms, round.total_ms,
      round.next_token_ms);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY [ROUNDS]\n", argv[0]);
    return 2;
  }
  print("first", run(argv[1]));
  std::vector<Round> rounds;
  for (int i = argc > 2 ? std::atoi(argv[2]) : 20; i > 0; --i) rounds.push_back(run(argv[1]));
  if (rounds.empty()) return 0;
  std::sort(rounds.begin(), rounds.end(),
            [](const Round& a, const Round& b) { return a.total_ms < b.total_ms; });
  print("median", rounds[rounds.size() / 2]);
}
