#include "tokenizer/batch_encoder.h"

#include <algorithm>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr size_t kBlockBytes = size_t{1} << 23;  // between two looks at the watch
constexpr size_t kBlockTexts = size_t{1} << 13;
constexpr int64_t kMaxGrain = 64;  // texts that one thread takes at a time

// The options with the file's rules in their place.
struct Rules {
  bool truncates = false;
  bool keeps_end = false;
  size_t max_tokens = 0;  // 0: no limit
  PaddingRule padding;
};

TokenId padding_token(const Tokenizer& tokenizer) {
  if (tokenizer.lengths().padding.to != PaddingRule::To::none) return tokenizer.lengths().padding.id;
  for (const std::string_view name : {"[PAD]", "<pad>", "<|pad|>", "<PAD>"}) {
    if (const TokenId id = tokenizer.special_id(name); id >= 0) return id;
  }
  throw Error(Status::invalid_argument)
      .subject("padding")
      .say("the tokenizer names no token for padding, neither in its file's rules nor as [PAD] or <pad>");
}

Rules make_rules(const Tokenizer& tokenizer, const BatchOptions& options) {
  using Truncation = BatchOptions::Truncation;
  using Padding = BatchOptions::Padding;
  Rules rules;
  rules.max_tokens = options.max_tokens;
  rules.truncates = options.truncation != Truncation::refuse;
  rules.keeps_end = options.truncation == Truncation::keep_end;
  if (options.truncation == Truncation::as_file) {
    const TruncationRule& file = tokenizer.lengths().truncation;
    rules.keeps_end = file.keep == TruncationRule::Keep::end;
    if (rules.max_tokens == 0 && file.is_set) {
      rules.max_tokens = std::max<size_t>(file.max_tokens, 1);
    }
  } else if (rules.truncates && rules.max_tokens == 0) {
    throw Error(Status::invalid_argument)
        .subject("max_tokens")
        .say("max_tokens is 0, expected the length to cut texts to");
  }
  if (options.padding == Padding::as_file) {
    rules.padding = tokenizer.lengths().padding;
  } else if (options.padding != Padding::none) {
    if (options.padding == Padding::to_max_tokens &&
        (options.max_tokens == 0 || options.max_tokens > PaddingRule::kMost)) {
      throw Error(Status::invalid_argument)
          .subject("max_tokens")
          .say("max_tokens is {}, expected the length to fill texts up to, at most {}", options.max_tokens,
               PaddingRule::kMost);
    }
    rules.padding.to =
        options.padding == Padding::longest ? PaddingRule::To::longest : PaddingRule::To::fixed;
    rules.padding.length = options.max_tokens;
    rules.padding.at_start = tokenizer.lengths().padding.at_start;
    rules.padding.id = padding_token(tokenizer);
  }
  return rules;
}

template <class T>
void cut(std::vector<T>& values, size_t n_before, size_t n_after, size_t n_kept, bool keeps_end) {
  const auto begin = values.begin() + static_cast<std::ptrdiff_t>(n_before);
  const auto end = values.end() - static_cast<std::ptrdiff_t>(n_after);
  const auto kept = static_cast<std::ptrdiff_t>(n_kept);
  if (keeps_end) {
    values.erase(begin, end - kept);
  } else {
    values.erase(begin + kept, end);
  }
}

class Batch {
 public:
  Batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts, const BatchOptions& options)
      : tokenizer_(tokenizer), texts_(texts), options_(options), rules_(make_rules(tokenizer, options)) {
    if (options.encode.add == AddSpecials::yes) {
      n_before_ = tokenizer.tokens_before().size();
      n_after_ = tokenizer.tokens_after().size();
    }
    if (rules_.truncates && rules_.max_tokens > 0 && rules_.max_tokens < n_before_ + n_after_) {
      throw Error(Status::invalid_argument)
          .subject("max_tokens")
          .say("at most {} tokens are asked for, {} are put around every text", rules_.max_tokens,
               n_before_ + n_after_);
    }
    results_.resize(texts.size());
  }

  void encode(ThreadPool& threads, const Watch& watch) {
    for (size_t begin = 0; begin < texts_.size();) {
      watch.report("encode", begin, texts_.size());
      const size_t end = block_end(begin);
      const auto n = static_cast<int64_t>(end - begin);
      const int64_t grain = std::clamp<int64_t>(n / (int64_t{8} * threads.n_threads()), 1, kMaxGrain);
      threads.parallel_for(n, grain, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          watch.check();
          encode_one(begin + static_cast<size_t>(i));
        }
      });
      begin = end;
    }
    watch.report("encode", texts_.size(), texts_.size());
  }

  void pad() {
    if (rules_.padding.to == PaddingRule::To::none) return;
    size_t length = rules_.padding.length;
    if (rules_.padding.to == PaddingRule::To::longest) {
      length = 0;
      for (const EncodedText& result : results_) length = std::max(length, result.ids.size());
    }
    const size_t multiple = std::max<size_t>(rules_.padding.multiple_of, 1);
    length = (length + multiple - 1) / multiple * multiple;
    for (EncodedText& result : results_) pad_one(result, length);
  }

  std::vector<EncodedText> take() { return std::move(results_); }

 private:
  size_t block_end(size_t begin) const {
    size_t end = begin, bytes = 0;
    while (end < texts_.size() && end - begin < kBlockTexts && bytes < kBlockBytes)
      bytes += texts_[end++].size();
    return end;
  }

  void encode_one(size_t i) {
    EncodedText& result = results_[i];
    tokenizer_.encode(texts_[i], options_.encode, result.ids, options_.wants_spans ? &result.spans : nullptr);
    const size_t n = result.ids.size();
    if (rules_.max_tokens > 0 && n > rules_.max_tokens) {
      if (!rules_.truncates) {
        throw Error(Status::out_of_range)
            .subject("texts")
            .say("text {} has {} tokens, expected at most {}", i, n, rules_.max_tokens);
      }
      const size_t n_kept = rules_.max_tokens - n_before_ - n_after_;
      cut(result.ids, n_before_, n_after_, n_kept, rules_.keeps_end);
      if (options_.wants_spans) cut(result.spans, n_before_, n_after_, n_kept, rules_.keeps_end);
    }
    result.is_token.assign(result.ids.size(), 1);
  }

  void pad_one(EncodedText& result, size_t length) const {
    if (result.ids.size() >= length) return;
    const size_t n = length - result.ids.size();
    const bool at_start = rules_.padding.at_start;
    result.ids.insert(at_start ? result.ids.begin() : result.ids.end(), n, rules_.padding.id);
    result.is_token.insert(at_start ? result.is_token.begin() : result.is_token.end(), n, uint8_t{0});
    if (options_.wants_spans) {
      result.spans.insert(at_start ? result.spans.begin() : result.spans.end(), n, TokenSpan{0, 0});
    }
  }

  const Tokenizer& tokenizer_;
  std::span<const std::string_view> texts_;
  const BatchOptions& options_;
  Rules rules_;
  size_t n_before_ = 0, n_after_ = 0;
  std::vector<EncodedText> results_;
};

}  // namespace

std::vector<EncodedText> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                      const BatchOptions& options, ThreadPool& threads, const Watch& watch) {
  Batch batch(tokenizer, texts, options);
  batch.encode(threads, watch);
  batch.pad();
  return batch.take();
}

}  // namespace nanochat
