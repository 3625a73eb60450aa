#include "tokenizer/vocabulary_file.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "tokenizer/byte_alphabet.h"

namespace nanochat {

namespace {

struct Ranked {
  TokenId id;
  std::string bytes;
};

[[noreturn]] void refuse(std::string_view why) {
  throw Error(Status::unsupported).subject("tokenizer").say("the tokenizer has no tiktoken form: {}", why);
}

void append_base64(std::string& out, std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
}

bool is_byte_level(const Json& step) {
  const Json* type = step.find("type");
  if (type == nullptr || !type->is_string()) return false;
  if (type->get<std::string>() == "ByteLevel") {
    const Json* space = step.find("add_prefix_space");
    return space != nullptr && *space == Json(false);
  }
  if (type->get<std::string>() != "Sequence" || !step.contains("pretokenizers")) return false;
  // A split rule, then the alphabet: what tiktoken does. More than that it cannot.
  const Json& steps = step.at("pretokenizers");
  return steps.size() == 2 && steps.at(size_t{0}).contains("pattern") && is_byte_level(steps.at(size_t{1}));
}

void check_pipeline(const Json& document) {
  const Json* model = document.find("model");
  if (model == nullptr || !model->contains("merges")) refuse("its model is not BPE");
  if (!model->contains("ignore_merges") || model->at("ignore_merges") != Json(true)) {
    refuse("it merges pieces that are tokens as a whole");
  }
  if (!document.contains("normalizer") || !document.at("normalizer").is_null()) {
    refuse("it changes the text before it splits it");
  }
  if (!document.contains("pre_tokenizer") || !is_byte_level(document.at("pre_tokenizer"))) {
    refuse("it does not split by one rule into bytes");
  }
}

std::vector<Ranked> ranked_tokens(const Tokenizer& tokenizer, const Json& vocabulary) {
  std::vector<Ranked> tokens;
  for (const JsonMember& member : vocabulary.items()) {
    const auto id = member.value.get<TokenId>();
    if (!tokenizer.is_special(id)) tokens.push_back({id, tokenizer.token_bytes(id, false, false)});
  }
  std::sort(tokens.begin(), tokens.end(), [](const Ranked& a, const Ranked& b) { return a.id < b.id; });
  return tokens;
}

// tiktoken merges whichever two tokens make a third, the one of the lowest rank first: the merges must be
// just these, in this order.
void check_merges(const std::vector<Ranked>& tokens, const Json& merges) {
  std::unordered_map<std::string_view, TokenId> ids;
  for (const Ranked& token : tokens) ids.emplace(token.bytes, token.id);
  size_t n_implied = 0;
  for (const Ranked& token : tokens) {
    const std::string_view bytes = token.bytes;
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      n_implied += ids.contains(bytes.substr(0, cut)) && ids.contains(bytes.substr(cut));
    }
  }
  if (n_implied != merges.size()) {
    refuse(format_text("its ranks imply {} merges, it has {}", n_implied, merges.size()));
  }
  TokenId last = -1;
  for (const Json& merge : merges) {
    std::string text;
    if (merge.is_array()) {
      for (const Json& part : merge) text += part.get<std::string>();
    } else {
      text = merge.get<std::string>();
      text.erase(std::min(text.find(' '), text.size()), 1);
    }
    std::string bytes;
    const bool is_bytes = from_alphabet(text, bytes);
    const auto found = is_bytes ? ids.find(bytes) : ids.end();
    if (found == ids.end() || found->second < last) refuse("its merges are not in the order of its ids");
    last = found->second;
  }
}

// 0 for an id that no token has.
size_t count_bytes(const Tokenizer& tokenizer, TokenId id) {
  try {
    return tokenizer.token_bytes(id, false, true).size();
  } catch (const Error& error) {
    if (error.status() != Status::out_of_range) throw;
    return 0;
  }
}

}  // namespace

std::string tiktoken_ranks(const Tokenizer& tokenizer) {
  const Json document = parse_json(tokenizer.to_json(), "tokenizer");
  check_pipeline(document);
  const std::vector<Ranked> tokens = ranked_tokens(tokenizer, document.at("model").at("vocab"));
  check_merges(tokens, document.at("model").at("merges"));
  std::string out;
  for (const Ranked& token : tokens) {
    append_base64(out, token.bytes);
    out += ' ';
    out += std::to_string(token.id);
    out += '\n';
  }
  return out;
}

void write_token_bytes(const Tokenizer& tokenizer, const std::string& path) {
  std::vector<int32_t> n_bytes(static_cast<size_t>(tokenizer.vocab_size()), 0);
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    n_bytes[static_cast<size_t>(id)] = static_cast<int32_t>(count_bytes(tokenizer, id));
  }
  TensorInfo info;
  info.name = "token_bytes";
  info.dtype = DType::i32;
  info.shape = {tokenizer.vocab_size()};
  SafetensorsWriter file(path, {info});
  file.write(std::as_bytes(std::span(n_bytes)));
  file.commit();
}

}  // namespace nanochat
