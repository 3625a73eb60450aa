#include "encoder/encoder_batch.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/pass_scope.h"

namespace nanochat {

namespace {

struct IdRange {
  int64_t smallest, largest;
};

void check_range(const char* what, size_t text, size_t index, IdRange range, int64_t value) {
  if (value >= range.smallest && value <= range.largest) return;
  throw Error(Status::out_of_range)
      .subject("tokens")
      .say("text {}: {} {} is {}, expected {} to {}", text, what, index, value, range.smallest,
           range.largest);
}

void check_text(const TowerConfig& tower, const TextInput& input, size_t index) {
  const auto refuse = [&](const std::string& reason) {
    throw Error(Status::invalid_argument).subject("texts").say("text {} {}", index, reason);
  };
  const int64_t n = std::ssize(input.tokens);
  if (n == 0) refuse("has no tokens, expected one at least");
  if (n > tower.max_rows) {
    throw Error(Status::out_of_range)
        .subject("texts")
        .field("n_tokens", n)
        .field("largest", tower.max_rows)
        .hint("truncate the text")
        .say("text {} has {} tokens, the model takes {} at most", index, n, tower.max_rows);
  }
  if (!input.types.empty() && std::ssize(input.types) != n) {
    refuse(format_text("has {} token types for {} tokens", input.types.size(), n));
  }
  if (input.n_attended < 0 || input.n_attended > n) {
    refuse(format_text("has {} attended tokens of {}", input.n_attended, n));
  }
  for (size_t i = 0; i < input.tokens.size(); ++i)
    check_range("token", index, i, {0, tower.vocab_size - 1}, input.tokens[i]);
  for (size_t i = 0; i < input.types.size(); ++i)
    check_range("token type", index, i, {0, std::max<int64_t>(0, tower.n_types - 1)}, input.types[i]);
}

int64_t attended(const TextInput& input) {
  return input.n_attended > 0 ? input.n_attended : std::ssize(input.tokens);
}

std::vector<InputRows> rows_of_texts(std::span<const TextInput> texts, int64_t n_global) {
  std::vector<InputRows> rows;
  int64_t first = 0;
  for (const TextInput& text : texts) {
    const int64_t n = std::ssize(text.tokens);
    rows.push_back({first, n, attended(text), std::min(n, n_global)});
    first += n;
  }
  return rows;
}

TokenRows token_rows(const TowerConfig& tower, std::span<const TextInput> texts) {
  TokenRows rows;
  for (const TextInput& text : texts) {
    auto position = static_cast<int32_t>(tower.first_position);
    for (const int32_t token : text.tokens) {
      rows.ids.push_back(token);
      // A pad token would have been given to say that there is nothing; RoBERTa does not count it.
      rows.positions.push_back(token == tower.pad_token ? tower.pad_token : position++);
    }
    if (text.types.empty()) {
      rows.types.resize(rows.ids.size(), 0);
    } else {
      rows.types.insert(rows.types.end(), text.types.begin(), text.types.end());
    }
  }
  return rows;
}

}  // namespace

const TowerConfig& require_text_tower(const Encoder& encoder) {
  if (encoder.config().text) return *encoder.config().text;
  throw Error(Status::unsupported).subject("encoder").say("the model encodes images, not texts");
}

std::vector<PassRange> cut_into_passes(std::span<const int64_t> counts) {
  std::vector<PassRange> passes;
  int64_t n_rows = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t n = counts[i];
    if (passes.empty() || n_rows + n > kEncoderRows) {
      passes.push_back({i, i});
      n_rows = 0;
    }
    passes.back().end = i + 1;
    n_rows += n;
  }
  return passes;
}

void run_texts(const Encoder& encoder, std::span<const TextInput> texts, int64_t n_global, const Watch& watch,
               const std::function<void(const FinishedTexts&)>& finish) {
  const TowerConfig& tower = *encoder.config().text;
  for (size_t i = 0; i < texts.size(); ++i) check_text(tower, texts[i], i);
  if (texts.empty()) return;
  std::vector<int64_t> counts;
  for (const TextInput& text : texts) counts.push_back(std::ssize(text.tokens));
  const std::vector<PassRange> passes = cut_into_passes(counts);
  PassMemory memory(encoder, tower);
  for (const PassRange& pass : passes) {
    const auto rows = rows_of_texts(texts.subspan(pass.first, pass.end - pass.first), n_global);
    memory.make_room(tower_sizes(tower, rows));
  }
  memory.allocate();
  const PassScope scope(encoder.device());
  uint64_t n_done = 0;
  for (const PassRange& range : passes) {
    const auto own = texts.subspan(range.first, range.end - range.first);
    const std::vector<InputRows> rows = rows_of_texts(own, n_global);
    const TowerBuffers buffers = memory.buffers(tower_sizes(tower, rows));
    TowerPass pass(encoder, tower, encoder.weights().text, buffers, rows);
    pass.embed_tokens(token_rows(tower, own));
    pass.run_layers(watch);
    finish({pass, own, rows, buffers, rows.back().first_row + rows.back().n_rows});
    if (++n_done < passes.size()) watch.report("encode", n_done, passes.size());
  }
  encoder.device().synchronize();
}

}  // namespace nanochat
