// Batches of texts, texts that grow, tokens that come one after another.
#include <utility>

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

constexpr size_t kEncodeOptionsSize = 72;
constexpr size_t kDecoderOptionsSize = 16;

static_assert(sizeof(TokenSpan) == 2 * sizeof(size_t));

EncodeOptions import_flags(uint32_t flags, const char* name) {
  require_enum(flags, NANOCHAT_ENCODE_SPECIALS_IN_TEXT | NANOCHAT_ENCODE_ADD_SPECIALS, name);
  EncodeOptions options;
  if ((flags & NANOCHAT_ENCODE_SPECIALS_IN_TEXT) != 0) options.in_text = SpecialsInText::all;
  if ((flags & NANOCHAT_ENCODE_ADD_SPECIALS) != 0) options.add = AddSpecials::yes;
  return options;
}

std::vector<TokenId> import_allowed(const nanochat_encode_options& known, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  for (const std::string& name : import_strings(known.allowed_specials, known.n_allowed_specials,
                                                "nanochat_encode_options.allowed_specials")) {
    ids.push_back(tokenizer.special_id(name));
    if (ids.back() < 0) {
      throw Error(Status::invalid_argument)
          .subject("nanochat_encode_options.allowed_specials")
          .say("'{}' is no special token of this tokenizer", name);
    }
  }
  if (!ids.empty() && (known.flags & NANOCHAT_ENCODE_SPECIALS_IN_TEXT) != 0) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_encode_options.flags")
        .say("NANOCHAT_ENCODE_SPECIALS_IN_TEXT allows all special tokens, and {} are listed", ids.size());
  }
  return ids;
}

// `allowed` is what the result points to.
BatchOptions import(const nanochat_encode_options& known, std::span<const TokenId> allowed) {
  require_enum(known.truncation, NANOCHAT_TRUNCATION_AS_FILE, "nanochat_encode_options.truncation");
  require_enum(known.padding, NANOCHAT_PADDING_AS_FILE, "nanochat_encode_options.padding");
  BatchOptions options;
  options.encode = import_flags(known.flags, "nanochat_encode_options.flags");
  if (!allowed.empty()) {
    options.encode.in_text = SpecialsInText::listed;
    options.encode.allowed = allowed;
  }
  options.max_tokens = known.max_tokens;
  options.truncation = static_cast<BatchOptions::Truncation>(known.truncation);
  options.padding = static_cast<BatchOptions::Padding>(known.padding);
  options.wants_spans = known.want_offsets != 0;
  return options;
}

// The text of this number, or nullptr; `out_n` receives how many ids it has.
const EncodedText* find_text(const nanochat_encoding* encoding, size_t text, size_t* out_n) {
  const bool has = encoding != nullptr && text < encoding->texts.size();
  if (out_n != nullptr) *out_n = has ? encoding->texts[text].ids.size() : 0;
  return has ? &encoding->texts[text] : nullptr;
}

void show(nanochat_text_decoder& decoder, std::string text, const char** out_text, size_t* out_size) {
  decoder.shown = std::move(text);
  *out_text = decoder.shown.c_str();
  *out_size = decoder.shown.size();
}

}  // namespace

extern "C" {

void nanochat_encode_options_init(nanochat_encode_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_tokenizer_encode_batch(const nanochat_tokenizer* tokenizer, const char* const* texts,
                                                const size_t* sizes, size_t n_texts,
                                                const nanochat_encode_options* options,
                                                nanochat_encoding** out_encoding, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_tokenizer& parent = require_handle(tokenizer, "tokenizer");
    require_pointer(out_encoding, "out_encoding");
    const auto known = import_options(options, "nanochat_encode_options", kEncodeOptionsSize);
    const std::vector<TokenId> allowed = import_allowed(known, *parent.tokenizer);
    const BatchOptions batch = import(known, allowed);
    const std::vector<std::string_view> views = import_texts({texts, sizes, n_texts});
    const Watch watch = make_watch(known.progress, known.progress_user_data, known.cancel);
    auto encoded = encode_batch(*parent.tokenizer, views, batch, *parent.core->threads, watch);
    *out_encoding = new nanochat_encoding{std::move(encoded)};
  });
}

void nanochat_encoding_free(nanochat_encoding* encoding) { delete encoding; }

size_t nanochat_encoding_size(const nanochat_encoding* encoding) {
  return encoding == nullptr ? 0 : encoding->texts.size();
}

const int32_t* nanochat_encoding_ids(const nanochat_encoding* encoding, size_t text, size_t* out_n) {
  const EncodedText* found = find_text(encoding, text, out_n);
  return found == nullptr ? nullptr : found->ids.data();
}

const size_t* nanochat_encoding_offsets(const nanochat_encoding* encoding, size_t text, size_t* out_n) {
  const EncodedText* found = find_text(encoding, text, out_n);
  return found == nullptr || found->spans.empty() ? nullptr : &found->spans.data()->begin;
}

const uint8_t* nanochat_encoding_attention_mask(const nanochat_encoding* encoding, size_t text,
                                                size_t* out_n) {
  const EncodedText* found = find_text(encoding, text, out_n);
  return found == nullptr ? nullptr : found->is_token.data();
}

nanochat_status nanochat_text_encoder_create(const nanochat_tokenizer* tokenizer, uint32_t flags,
                                             nanochat_text_encoder** out_encoder, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_tokenizer& parent = require_handle(tokenizer, "tokenizer");
    require_pointer(out_encoder, "out_encoder");
    *out_encoder =
        new nanochat_text_encoder{parent.core, GrowingText(parent.tokenizer, import_flags(flags, "flags"))};
  });
}

void nanochat_text_encoder_free(nanochat_text_encoder* encoder) { delete encoder; }

nanochat_status nanochat_text_encoder_append(nanochat_text_encoder* encoder, const char* text, size_t size,
                                             nanochat_error** error) {
  return guard(error,
               [&] { require_handle(encoder, "encoder").text.append(import_text(text, size, "text")); });
}

nanochat_status nanochat_text_encoder_ids(nanochat_text_encoder* encoder, const int32_t** out_ids,
                                          size_t* out_n, size_t* out_n_final, nanochat_error** error) {
  return guard(error, [&] {
    GrowingText& text = require_handle(encoder, "encoder").text;
    require_pointer(out_ids, "out_ids");
    require_pointer(out_n, "out_n");
    const std::span<const TokenId> ids = text.ids();
    *out_ids = ids.data();
    *out_n = ids.size();
    if (out_n_final != nullptr) *out_n_final = text.n_final();
  });
}

void nanochat_text_decoder_options_init(nanochat_text_decoder_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_text_decoder_create(const nanochat_tokenizer* tokenizer,
                                             const nanochat_text_decoder_options* options,
                                             nanochat_text_decoder** out_decoder, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_tokenizer& parent = require_handle(tokenizer, "tokenizer");
    require_pointer(out_decoder, "out_decoder");
    const auto known = import_options(options, "nanochat_text_decoder_options", kDecoderOptionsSize);
    using Stream = DecodedStream;
    const Stream fresh(parent.tokenizer,
                       known.skip_specials != 0 ? Stream::Specials::skipped : Stream::Specials::shown,
                       known.exact_bytes != 0 ? Stream::Form::exact : Stream::Form::replaced);
    *out_decoder = new nanochat_text_decoder{parent.core, fresh, fresh, {}};
  });
}

void nanochat_text_decoder_free(nanochat_text_decoder* decoder) { delete decoder; }

nanochat_status nanochat_text_decoder_push(nanochat_text_decoder* decoder, const int32_t* ids, size_t n_ids,
                                           const char** out_text, size_t* out_size, nanochat_error** error) {
  return guard(error, [&] {
    nanochat_text_decoder& target = require_handle(decoder, "decoder");
    if (n_ids > 0) require_pointer(ids, "ids");
    require_pointer(out_text, "out_text");
    require_pointer(out_size, "out_size");
    show(target, target.stream.push({ids, n_ids}), out_text, out_size);
  });
}

nanochat_status nanochat_text_decoder_finish(nanochat_text_decoder* decoder, const char** out_text,
                                             size_t* out_size, nanochat_error** error) {
  return guard(error, [&] {
    nanochat_text_decoder& target = require_handle(decoder, "decoder");
    require_pointer(out_text, "out_text");
    require_pointer(out_size, "out_size");
    DecodedStream fresh = target.fresh;
    show(target, target.stream.finish(), out_text, out_size);
    target.stream = std::move(fresh);
  });
}

}  // extern "C"
