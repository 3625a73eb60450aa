// Texts to vectors: a batch of long texts against the arithmetic of the machine, single short ones, and what
// a call costs that has next to nothing to compute.
#include <algorithm>
#include <memory>
#include <vector>

#include "bench.h"
#include "interrupt.h"

namespace nanochat::cli {
namespace {

// One layer of eight numbers: all but the arithmetic of a call.
constexpr const char* kTinyShape =
    R"({"model_type":"bert","vocab_size":16,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":1,)"
    R"("intermediate_size":8,"max_position_embeddings":16})";
constexpr int64_t kTinyTokens = 4;

class Texts {
 public:
  Texts(int64_t n_texts, int64_t n_tokens, int64_t vocab_size) {
    for (int64_t i = 0; i < n_texts; ++i) lists_.push_back(some_tokens(n_tokens, vocab_size, i + 1));
    for (const TokenList& list : lists_) {
      pointers_.push_back(list.data());
      sizes_.push_back(list.size());
    }
  }

  double seconds_to_embed(const nanochat_model* model, bool is_sparse) const {
    nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
    options.cancel = interrupt_switch();
    options.max_tokens = static_cast<int64_t>(sizes_.front());
    const Stopwatch watch;
    make<Embeddings>(Exit::running, is_sparse ? nanochat_embed_sparse : nanochat_embed, model,
                     pointers_.data(), sizes_.data(), pointers_.size(), &options);
    return watch.seconds();
  }

 private:
  std::vector<TokenList> lists_;
  std::vector<const int32_t*> pointers_;
  std::vector<size_t> sizes_;
};

std::vector<double> time_calls(const nanochat_model* model, const Texts& texts, int32_t n_calls,
                               bool is_sparse) {
  std::vector<double> seconds;
  texts.seconds_to_embed(model, is_sparse);  // the first call takes memory that the others find
  for (int32_t i = 0; i < n_calls; ++i) seconds.push_back(texts.seconds_to_embed(model, is_sparse));
  return seconds;
}

double smallest(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

// Matrices, and attention of every token to every token.
double text_flops(const nanochat_model_info& info, double n_tokens) {
  const double attention =
      4.0 * static_cast<double>(info.n_layer) * static_cast<double>(info.n_embd) * n_tokens * n_tokens;
  return static_cast<double>(info.flops_per_token) * n_tokens + attention;
}

double call_overhead(const Runtime& runtime) {
  constexpr int32_t kCalls = 5000;
  const auto tiny = make<Model>(Exit::running, nanochat_model_create_random, runtime.get(), kTinyShape,
                                uint64_t{1}, nullptr);
  return smallest(time_calls(tiny.get(), Texts(1, kTinyTokens, 16), kCalls, false));
}

}  // namespace

void run_embed(const Bench& bench) {
  constexpr int64_t kDefaultTokens = 128, kShortTokens = 8;
  constexpr int32_t kShortCalls = 20;
  const BenchedModel opened = open_benched(bench);
  const nanochat_model_info& info = opened.info;
  if (info.max_tokens == 0) throw Failure(Exit::loading, "the model takes no texts");
  const bool is_sparse = info.has_sparse != 0;
  const int64_t n_tokens = std::min(bench.tokens > 0 ? bench.tokens : kDefaultTokens, info.sequence_len);
  const double took = median(time_calls(opened.model.get(), Texts(bench.texts, n_tokens, info.vocab_size),
                                        bench.repeats, is_sparse));
  const auto shorts =
      time_calls(opened.model.get(), Texts(1, std::min(kShortTokens, n_tokens), info.vocab_size), kShortCalls,
                 is_sparse);
  BenchJson line = bench_facts("embed", bench, opened.runtime.get(), info);
  line.erase("kv_dtype");
  line["tokens"] = n_tokens;
  line["texts"] = bench.texts;
  line["repeats"] = bench.repeats;
  line["seconds"] = took;
  line["texts_per_second"] = bench.texts / took;
  line["short_text_tokens"] = std::min(kShortTokens, n_tokens);
  line["short_text_ms"] = median(shorts) * 1e3;
  line["call_overhead_us"] = call_overhead(opened.runtime) * 1e6;
  const double n_texts = bench.texts;
  const Speed speed{n_texts * static_cast<double>(n_tokens) / took,
                    static_cast<double>(info.weight_bytes) / took,
                    n_texts * text_flops(info, static_cast<double>(n_tokens)) / took};
  report(line, speed, bench, opened.runtime.get(), info.weights);
}

}  // namespace nanochat::cli
