#include "infer/embed.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace nanochat {

namespace {

int64_t usable_tokens(const Model& model, const std::vector<int32_t>& input, size_t index,
                      const EmbedOptions& options) {
  const int64_t n = std::ssize(input);
  const int64_t most = most_tokens(model, options);
  if (n == 0) {
    throw Error(Status::invalid_argument)
        .subject("inputs")
        .field("input", index)
        .say("input {} has no tokens, expected one at least", index);
  }
  if (n > most && !options.truncate) {
    throw Error(Status::context_full)
        .subject("inputs")
        .field("input", index)
        .say("input {} has {} tokens, the model takes {}", index, n, most)
        .hint("shorten it, or let it be truncated");
  }
  for (int64_t i = 0; i < std::min(n, most); ++i) {
    const int32_t token = input[static_cast<size_t>(i)];
    if (token >= 0 && token < model.config().vocab_size) continue;
    throw Error(Status::out_of_range)
        .subject("inputs")
        .say("input {}: token {} is {}, expected 0 to {}", index, i, token, model.config().vocab_size - 1);
  }
  return std::min(n, most);
}

// target = the mean of n rows, each value summed in order.
void average_rows(const float* rows, int64_t n, int64_t width, float* target) {
  std::vector<double> sums(static_cast<size_t>(width));
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t i = 0; i < width; ++i) sums[static_cast<size_t>(i)] += rows[row * width + i];
  }
  for (int64_t i = 0; i < width; ++i) {
    target[i] = static_cast<float>(sums[static_cast<size_t>(i)] / static_cast<double>(n));
  }
}

void normalize(float* row, int64_t width) {
  double squares = 0.0;
  for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * row[i];
  if (squares == 0.0) return;
  const double scale = 1.0 / std::sqrt(squares);
  for (int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] * scale);
}

// Inputs first..end-1 in one pass. `rows` is where theirs go.
void embed_group(const std::shared_ptr<const Model>& model, std::span<const std::vector<int32_t>> inputs,
                 std::span<const int64_t> n_tokens, const EmbedOptions& options, float* rows,
                 const Watch& watch) {
  const int64_t width = model->config().n_embd;
  const bool is_mean = options.pooling == Pooling::mean;
  std::vector<KvCache> caches;
  std::vector<SequenceInput> sequences;
  caches.reserve(inputs.size());
  int64_t n_states = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    caches.emplace_back(model, n_tokens[i]);
    const bool last = options.pooling == Pooling::last;
    sequences.push_back({&caches.back(), std::span(inputs[i]).first(static_cast<size_t>(n_tokens[i])),
                         last ? LogitRows::last : LogitRows::all});
    n_states += last ? 1 : n_tokens[i];
  }
  std::vector<float> states(is_mean ? static_cast<size_t>(n_states * width) : 0);
  forward(*model, sequences, is_mean ? states.data() : rows, watch, {}, PassOutput::states);
  if (!is_mean) return;
  const float* from = states.data();
  for (const int64_t n : n_tokens) {
    average_rows(from, n, width, rows);
    from += n * width;
    rows += width;
  }
}

}  // namespace

int64_t most_tokens(const Model& model, const EmbedOptions& options) {
  const int64_t context = model.config().sequence_len;
  if (options.max_tokens < 0 || options.max_tokens > context) {
    throw Error(Status::out_of_range)
        .subject("max_tokens")
        .say("max_tokens is {}, the model takes {} at most", options.max_tokens, context);
  }
  return options.max_tokens > 0 ? options.max_tokens : context;
}

Embeddings embed(const std::shared_ptr<const Model>& model, std::span<const std::vector<int32_t>> inputs,
                 const EmbedOptions& options, const Watch& watch) {
  Embeddings out;
  out.width = model->config().n_embd;
  out.first_row.push_back(0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    out.n_tokens.push_back(usable_tokens(*model, inputs[i], i, options));
    out.first_row.push_back(out.first_row.back() +
                            (options.pooling == Pooling::none ? out.n_tokens.back() : 1));
  }
  out.has_token_rows = options.pooling == Pooling::none;
  out.values.resize(static_cast<size_t>(out.first_row.back() * out.width));
  watch.report("embed", 0, inputs.size());
  for (size_t first = 0; first < inputs.size();) {
    size_t end = first + 1;
    int64_t n_rows = out.n_tokens[first];
    while (end < inputs.size() && n_rows + out.n_tokens[end] <= kForwardRows) n_rows += out.n_tokens[end++];
    embed_group(model, inputs.subspan(first, end - first),
                std::span(out.n_tokens).subspan(first, end - first), options,
                out.values.data() + out.first_row[first] * out.width, watch);
    first = end;
    watch.report("embed", first, inputs.size());
  }
  if (options.is_unit) {
    for (int64_t row = 0; row < out.first_row.back(); ++row)
      normalize(out.values.data() + row * out.width, out.width);
  }
  return out;
}

}  // namespace nanochat
