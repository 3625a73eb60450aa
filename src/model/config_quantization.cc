// quantization_config of config.json: the form of the compressed-tensors package, of which one kind is read
// and written: 8-bit integers, symmetric, one scale for each output of a matrix.
#include "model/config_formats.h"

namespace nanochat {

namespace {

// Options of a scheme that change what the numbers mean.
void check_weights(const ConfigReader& weights) {
  weights.integer("num_bits", {8, 8});
  weights.require_text("type", "int");
  weights.require_flag("symmetric", true);
  if (weights.text("strategy", "") != "channel")
    weights.refuse("strategy", "\"channel\": a scale for each output");
  weights.require_absent("group_size", "one scale for each output");
  weights.require_absent("block_structure", "one scale for each output");
  weights.require_flag("dynamic", false);
  weights.require_absent("actorder", "weights in their own order");
}

// Inputs are rounded as they come, whatever the file says of how; a fixed scale for them has no place.
void check_activations(const ConfigReader& group) {
  group.require_absent("output_activations", "outputs are not quantised");
  if (!group.has("input_activations")) return;
  const ConfigReader inputs = group.object("input_activations");
  inputs.integer("num_bits", {8, 8});
  inputs.require_text("type", "int");
  inputs.require_flag("symmetric", true);
  if (!inputs.flag("dynamic", false))
    inputs.refuse("dynamic", "true: scales of inputs are found while it runs");
}

}  // namespace

bool read_quantization_config(const ConfigReader& reader) {
  if (!reader.has("quantization_config")) return false;
  const ConfigReader quantization = reader.object("quantization_config");
  if (quantization.text("quant_method", "") != "compressed-tensors") {
    quantization.refuse("quant_method", "\"compressed-tensors\"");
  }
  if (quantization.text("format", "") != "int-quantized") quantization.refuse("format", "\"int-quantized\"");
  quantization.require_text("quantization_status", "compressed");
  quantization.require_absent("kv_cache_scheme", "keys and values have no scales of their own");
  if (quantization.has("sparsity_config") && quantization.json().find("sparsity_config")->size() > 0) {
    quantization.object("sparsity_config").require_text("format", "dense");
  }
  const ConfigReader groups = quantization.object("config_groups");
  if (groups.json().empty()) quantization.refuse("config_groups", "at least one group");
  for (const JsonMember& member : groups.json().items()) {
    const ConfigReader group = groups.object(member.key);
    check_weights(group.object("weights"));
    check_activations(group);
    group.require_text("format", "int-quantized");
  }
  return true;
}

bool has_int8_weights(const Json& document, std::string_view file_name) {
  return read_quantization_config(ConfigReader(document, file_name));
}

Json int8_weights_json(const ModelConfig& config) {
  Json weights = {
      {"num_bits", 8},         {"type", "int"},    {"symmetric", true},   {"strategy", "channel"},
      {"group_size", nullptr}, {"dynamic", false}, {"actorder", nullptr}, {"block_structure", nullptr}};
  Json group = Json::object();
  // With a tied head the embedding is the head's matrix.
  group["targets"] =
      config.lm_head == LmHead::tied ? Json::array({"Linear", "Embedding"}) : Json::array({"Linear"});
  group["weights"] = std::move(weights);
  group["input_activations"] = nullptr;
  group["output_activations"] = nullptr;
  group["format"] = "int-quantized";  // without it the package expects weights alone to be packed
  Json json = Json::object();
  json["quant_method"] = "compressed-tensors";
  json["format"] = "int-quantized";
  json["quantization_status"] = "compressed";
  json["config_groups"] = Json::object();
  json["config_groups"]["group_0"] = std::move(group);
  json["ignore"] = Json::array();
  json["kv_cache_scheme"] = nullptr;
  return json;
}

}  // namespace nanochat
