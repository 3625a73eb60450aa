// Many sessions at once: what each and all of them get of the machine.
#include <algorithm>
#include <memory>
#include <vector>

#include "bench.h"
#include "interrupt.h"

namespace nanochat::cli {
namespace {

struct BatchTime {
  double seconds = 0;  // from the pass that gave every request its first token to the end
  nanochat_scheduler_info before{}, after{};
  int64_t tokens() const { return after.decoded_tokens - before.decoded_tokens; }
  int64_t passes() const { return after.passes - before.passes; }
};

nanochat_scheduler_info describe(const Scheduler& scheduler) {
  return fill<nanochat_scheduler_info>(Exit::running, nanochat_scheduler_describe, scheduler.get());
}

Scheduler scheduler_for(const BenchedModel& opened, const Bench& bench, int32_t n_sessions) {
  nanochat_scheduler_options options = NANOCHAT_SCHEDULER_OPTIONS_INIT;
  options.max_running = n_sessions;
  options.kv_dtype = kv_dtype_of(bench.model);
  options.draft_tokens = bench.draft_tokens;
  return make<Scheduler>(Exit::running, nanochat_scheduler_create, opened.model.get(), nullptr, &options);
}

Request submit(const Scheduler& scheduler, const TokenList& prompt, int64_t max_tokens) {
  nanochat_generation_options generation = NANOCHAT_GENERATION_OPTIONS_INIT;
  generation.max_tokens = max_tokens;
  generation.ignore_end = 1;
  generation.cancel = interrupt_switch();
  nanochat_request_options options = NANOCHAT_REQUEST_OPTIONS_INIT;
  options.capacity = static_cast<int64_t>(prompt.size()) + max_tokens;
  return make<Request>(Exit::running, nanochat_scheduler_submit, scheduler.get(), prompt.data(),
                       prompt.size(), &generation, &options);
}

nanochat_generation_event take(const Request& request) {
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  call(Exit::running, nanochat_request_next, request.get(), &event);
  if (event.finish == NANOCHAT_FINISH_ERROR) call(Exit::running, nanochat_request_result, request.get());
  return event;
}

BatchTime run_sessions(const BenchedModel& opened, const Bench& bench, int32_t n_sessions, int64_t n_tokens) {
  const Scheduler scheduler = scheduler_for(opened, bench, n_sessions);
  std::vector<Request> requests;
  for (int32_t i = 0; i < n_sessions; ++i) {
    requests.push_back(
        submit(scheduler, some_tokens(bench.prompt_tokens, opened.info.vocab_size, i + 1), n_tokens));
  }
  for (const Request& request : requests) take(request);
  BatchTime time;
  time.before = describe(scheduler);
  const Stopwatch watch;
  for (const Request& request : requests) {
    while (take(request).finish == NANOCHAT_FINISH_NONE) {
    }
  }
  time.seconds = watch.seconds();
  time.after = describe(scheduler);
  return time;
}

// Seconds to the first token of a prompt, and of the same prompt again.
std::vector<double> run_prompt_twice(const BenchedModel& opened, const Bench& bench) {
  const Scheduler scheduler = scheduler_for(opened, bench, 1);
  const TokenList prompt = some_tokens(bench.prompt_again, opened.info.vocab_size);
  std::vector<double> seconds;
  for (int i = 0; i < 2; ++i) {
    const Stopwatch watch;
    take(submit(scheduler, prompt, 1));
    seconds.push_back(watch.seconds());
  }
  return seconds;
}

BenchJson row(int32_t n_sessions, const std::vector<BatchTime>& times, const nanochat_model_info& info,
              const Ceilings& ceilings) {
  std::vector<double> seconds;
  for (const BatchTime& time : times) seconds.push_back(time.seconds);
  const BatchTime& any = times.front();  // all do the same work
  const double took = median(seconds);
  const double rate = static_cast<double>(any.tokens()) / took;
  const double passes = static_cast<double>(any.passes());
  BenchJson line{{"sessions", n_sessions}, {"seconds", took}, {"tokens_per_second_each", rate / n_sessions}};
  add_speed(line,
            {rate, passes / took * static_cast<double>(info.bytes_per_decoded_token),
             rate * static_cast<double>(info.flops_per_decoded_token)},
            ceilings);
  line["rows_per_pass"] = static_cast<double>(any.after.rows - any.before.rows) / passes;
  return line;
}

}  // namespace

void run_batch(const Bench& bench) {
  constexpr int64_t kDefaultTokens = 32;
  const int64_t n_tokens = bench.tokens > 0 ? bench.tokens : kDefaultTokens;
  const BenchedModel opened = open_benched(bench);
  std::vector<std::vector<BatchTime>> times(bench.sessions.size());
  std::vector<double> first, again;
  for (int32_t repeat = 0; repeat < bench.repeats; ++repeat) {  // in turns: a busy minute hits all alike
    for (size_t i = 0; i < bench.sessions.size(); ++i) {
      times[i].push_back(run_sessions(opened, bench, bench.sessions[i], n_tokens));
    }
    if (bench.prompt_again == 0) continue;
    const std::vector<double> seconds = run_prompt_twice(opened, bench);
    first.push_back(seconds[0]);
    again.push_back(seconds[1]);
  }
  BenchJson facts = bench_facts("batch", bench, opened.runtime.get(), opened.info);
  facts["tokens"] = n_tokens;
  facts["prompt_tokens"] = bench.prompt_tokens;
  facts["draft_tokens"] = bench.draft_tokens;
  facts["repeats"] = bench.repeats;
  if (bench.prompt_again > 0) {
    facts["prompt_again_tokens"] = bench.prompt_again;
    facts["prompt_seconds"] = median(first);
    facts["prompt_again_seconds"] = median(again);
  }
  facts["peak_memory_bytes"] = peak_memory_bytes();
  const Ceilings ceilings = measure_ceilings(opened.runtime.get(), opened.info.weights);
  facts["batches"] = BenchJson::array();
  for (size_t i = 0; i < bench.sessions.size(); ++i) {
    facts["batches"].push_back(row(bench.sessions[i], times[i], opened.info, ceilings));
  }
  const double slowest = facts["batches"].front()["tokens_per_second"];
  for (BenchJson& line : facts["batches"])
    line["times_the_first"] = line["tokens_per_second"].get<double>() / slowest;
  add_ceilings(facts, ceilings);
  print_facts(facts, bench);
}

}  // namespace nanochat::cli
