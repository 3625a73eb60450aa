#include "base/file.h"
#include "base/json.h"
#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/split_pattern.h"
#include "tokenizer/conversation.h"

using namespace nanochat;

namespace nanochat {

SplitPattern import_pattern(int32_t pattern, const char* name) {
  require_enum(pattern, NANOCHAT_PATTERN_LLAMA3, name);
  switch (pattern) {
    case NANOCHAT_PATTERN_GPT2:
      return SplitPattern::gpt2;
    case NANOCHAT_PATTERN_CL100K:
      return SplitPattern::cl100k;
    case NANOCHAT_PATTERN_O200K:
      return SplitPattern::o200k;
    case NANOCHAT_PATTERN_LLAMA3:
      return SplitPattern::llama3;
    default:
      return SplitPattern::nanochat;
  }
}

}  // namespace nanochat

namespace {

constexpr size_t kTokenizerOptionsSize = 40;
constexpr size_t kDefaultMaxTokens = 2048;

std::shared_ptr<const Tokenizer> load(const std::string& path, const nanochat_tokenizer_options& options) {
  require_zero(options.reserved, "nanochat_tokenizer_options.reserved");
  const SplitPattern pattern = import_pattern(options.pattern, "nanochat_tokenizer_options.pattern");
  const std::vector<std::string> names = import_strings(options.special_tokens, options.n_special_tokens,
                                                        "nanochat_tokenizer_options.special_tokens");
  const std::vector<int32_t> ids = import_array(options.special_token_ids, options.n_special_tokens,
                                                "nanochat_tokenizer_options.special_token_ids");
  std::vector<SpecialToken> specials;
  for (size_t i = 0; i < names.size(); ++i) specials.push_back({names[i], ids[i]});
  if (path.ends_with(".tiktoken")) return load_tiktoken(path, pattern, specials);
  if (!specials.empty()) {
    throw Error(Status::invalid_argument)
        .subject(path)
        .say("{}: {} special tokens given, but only tiktoken rank files (*.tiktoken) take any", path,
             specials.size());
  }
  return load_tokenizer(directory_exists(path) ? find_tokenizer_file(path) : path);
}

EncodeOptions import_encode_flags(uint32_t flags) {
  require_enum(flags, NANOCHAT_ENCODE_SPECIALS_IN_TEXT | NANOCHAT_ENCODE_ADD_SPECIALS, "flags");
  EncodeOptions options;
  if ((flags & NANOCHAT_ENCODE_SPECIALS_IN_TEXT) != 0) options.in_text = SpecialsInText::all;
  if ((flags & NANOCHAT_ENCODE_ADD_SPECIALS) != 0) options.add = AddSpecials::yes;
  return options;
}

// Copies ids (and mask) to the caller's buffers, or says how many there are.
void export_ids(const std::vector<int32_t>& ids, const uint8_t* mask_source, int32_t* target, uint8_t* mask,
                size_t capacity, size_t* out_n) {
  if (ids.size() > capacity) {
    *out_n = ids.size();
    throw Error(Status::buffer_too_small)
        .subject("ids")
        .say("ids has room for {} tokens, {} are needed", capacity, ids.size());
  }
  if (!ids.empty()) require_pointer(target, "ids");
  std::copy(ids.begin(), ids.end(), target);
  if (mask != nullptr) {
    for (size_t i = 0; i < ids.size(); ++i) mask[i] = mask_source == nullptr ? 0 : mask_source[i];
  }
  *out_n = ids.size();
}

}  // namespace

extern "C" {

void nanochat_tokenizer_options_init(nanochat_tokenizer_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_tokenizer_load(const nanochat_runtime* runtime, const char* path,
                                        const nanochat_tokenizer_options* options,
                                        nanochat_tokenizer** out_tokenizer, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_tokenizer, "out_tokenizer");
    const auto known = import_options(options, "nanochat_tokenizer_options", kTokenizerOptionsSize);
    *out_tokenizer = new nanochat_tokenizer{core, load(import_path(path), known)};
  });
}

void nanochat_tokenizer_free(nanochat_tokenizer* tokenizer) { delete tokenizer; }

int32_t nanochat_tokenizer_vocab_size(const nanochat_tokenizer* tokenizer) {
  return tokenizer == nullptr ? 0 : tokenizer->tokenizer->vocab_size();
}

int32_t nanochat_tokenizer_special_id(const nanochat_tokenizer* tokenizer, const char* name) {
  return tokenizer == nullptr || name == nullptr ? -1 : tokenizer->tokenizer->special_id(name);
}

int32_t nanochat_tokenizer_bos(const nanochat_tokenizer* tokenizer) {
  return tokenizer == nullptr ? -1 : tokenizer->tokenizer->bos();
}

size_t nanochat_tokenizer_encode_bound(const nanochat_tokenizer* tokenizer, size_t text_size) {
  return tokenizer == nullptr ? 0 : tokenizer->tokenizer->encode_bound(text_size);
}

nanochat_status nanochat_tokenizer_encode(const nanochat_tokenizer* tokenizer, const char* text,
                                          size_t text_size, uint32_t flags, int32_t* ids, size_t capacity,
                                          size_t* out_n, nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_n, "out_n");
    const EncodeOptions options = import_encode_flags(flags);
    export_ids(encoder.encode(import_text(text, text_size, "text"), options), nullptr, ids, nullptr, capacity,
               out_n);
  });
}

nanochat_status nanochat_tokenizer_count(const nanochat_tokenizer* tokenizer, const char* text,
                                         size_t text_size, uint32_t flags, size_t* out_n,
                                         nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_n, "out_n");
    *out_n = encoder.count(import_text(text, text_size, "text"), import_encode_flags(flags));
  });
}

nanochat_status nanochat_tokenizer_decode(const nanochat_tokenizer* tokenizer, const int32_t* ids,
                                          size_t n_ids, int32_t skip_specials, nanochat_text** out_text,
                                          nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& decoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_text, "out_text");
    if (n_ids > 0) require_pointer(ids, "ids");
    *out_text = make_text(decoder.decode({ids, n_ids}, skip_specials != 0));
  });
}

nanochat_status nanochat_tokenizer_save(const nanochat_tokenizer* tokenizer, const char* path,
                                        nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& source = *require_handle(tokenizer, "tokenizer").tokenizer;
    write_file(import_path(path), source.to_json());
  });
}

nanochat_status nanochat_tokenizer_render(const nanochat_tokenizer* tokenizer, const char* conversation,
                                          size_t conversation_size, int32_t mode, size_t max_tokens,
                                          int32_t* ids, uint8_t* mask, size_t capacity, size_t* out_n,
                                          nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_n, "out_n");
    require_enum(mode, NANOCHAT_RENDER_REPLY, "mode");
    if (max_tokens > INT32_MAX) {
      throw Error(Status::invalid_argument)
          .subject("max_tokens")
          .say("max_tokens is {}, expected at most {}", max_tokens, INT32_MAX);
    }
    const auto limit = static_cast<int64_t>(max_tokens == 0 ? kDefaultMaxTokens : max_tokens);
    const Json document =
        parse_json(import_text(conversation, conversation_size, "conversation"), "conversation");
    RenderedConversation rendered;
    if (mode == NANOCHAT_RENDER_TRAINING) {
      rendered = render_conversation(encoder, document, limit);
    } else if (mode == NANOCHAT_RENDER_COMPLETION) {
      rendered.ids = render_for_completion(encoder, document, limit);
    } else {
      rendered.ids = render_for_reply(encoder, document, static_cast<int64_t>(max_tokens));
    }
    export_ids(rendered.ids, rendered.mask.empty() ? nullptr : rendered.mask.data(), ids, mask, capacity,
               out_n);
  });
}

}  // extern "C"
