// The reference's shapes by depth.
#include <algorithm>
#include <charconv>

#include "base/checked.h"
#include "base/error.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

constexpr int64_t kWidthPerLayer = 64;
constexpr int64_t kHeadWidth = 128;
constexpr int64_t kContext = 2048;
constexpr Range<int64_t> kDepth{1, 256};

// "v0-d20": generation and depth; false if the text is anything else.
bool split_shape_name(std::string_view name, std::string_view& generation, int64_t& depth) {
  const size_t dash = name.find("-d");
  if (dash == std::string_view::npos) return false;
  generation = name.substr(0, dash);
  const std::string_view digits = name.substr(dash + 2);
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), depth);
  return result.ec == std::errc() && result.ptr == digits.data() + digits.size() &&
         depth >= kDepth.smallest && depth <= kDepth.largest && (generation == "v0" || generation == "v1");
}

}  // namespace

ModelConfig nanochat_shape(std::string_view name) {
  std::string_view generation;
  int64_t depth = 0;
  if (!split_shape_name(name, generation, depth)) {
    throw Error(Status::invalid_argument)
        .subject(name)
        .say("model shape is \"{}\", expected v0-d<depth> or v1-d<depth> with a depth from {} to {}", name,
             kDepth.smallest, kDepth.largest);
  }
  const bool is_v1 = generation == "v1";
  ModelConfig config;
  config.sequence_len = kContext;
  config.n_layer = depth;
  config.vocab_size = is_v1 ? 32768 : 65536;
  config.n_embd = is_v1 ? round_up(kWidthPerLayer * depth, kHeadWidth) : kWidthPerLayer * depth;
  config.n_head = (config.n_embd + kHeadWidth - 1) / kHeadWidth;
  config.n_kv_head = config.n_head;
  if (is_v1) config.window_pattern = "SSSL";
  if (config.n_embd % config.n_head != 0 || config.n_embd / config.n_head % 2 != 0) {
    throw Error(Status::invalid_argument)
        .subject(name)
        .say("model shape \"{}\": width {} does not divide into {} heads of even width", name, config.n_embd,
             config.n_head);
  }
  const auto generations = nanochat_generations();
  apply_generation(is_v1 ? generations.back() : generations.front(), config);
  check_model_config(config, name);
  return config;
}

}  // namespace nanochat
