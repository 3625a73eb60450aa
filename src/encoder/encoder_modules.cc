#include "encoder/encoder_modules.h"

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "model/config_formats.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

std::string last_part(std::string_view dotted) { return std::string(dotted.substr(dotted.rfind('.') + 1)); }

void check_folder(const ConfigReader& module, const std::string& folder) {
  const bool is_plain = folder != "." && folder != ".." && folder.find('/') == std::string::npos &&
                        folder.find('\\') == std::string::npos && folder.find('\0') == std::string::npos;
  if (!is_plain) module.refuse("path", "a plain folder name");
}

Json read_document(const std::string& path) { return parse_json(read_file(path, kMaxConfigBytes), path); }

TextPooling pooling_named(const ConfigReader& reader, const std::string& name) {
  if (name == "mean" || name == "mean_tokens") return TextPooling::mean;
  if (name == "cls" || name == "cls_token") return TextPooling::cls;
  if (name == "max" || name == "max_tokens") return TextPooling::max;
  if (name == "lasttoken") return TextPooling::last;
  reader.refuse("pooling_mode", "mean, cls, max or lasttoken");
}

// One way of pooling; several at once would be written one after another, which no model here does.
TextPooling read_pooling(const std::string& path) {
  const Json document = read_document(path);
  const ConfigReader reader(document, path);
  if (reader.has("pooling_mode")) return pooling_named(reader, reader.text("pooling_mode", ""));
  std::optional<TextPooling> found;
  for (const char* mode : {"cls_token", "mean_tokens", "max_tokens", "lasttoken"}) {
    const std::string key = format_text("pooling_mode_{}", mode);
    if (!reader.flag(key, false)) continue;
    if (found) reader.refuse(key, "false: one way of pooling at a time");
    found = pooling_named(reader, mode);
  }
  for (const char* mode : {"mean_sqrt_len_tokens", "weightedmean_tokens"}) {
    reader.require_flag(format_text("pooling_mode_{}", mode), false);
  }
  if (!found) reader.refuse("pooling_mode_mean_tokens", "true, or another way of pooling");
  return *found;
}

DenseConfig read_dense(const std::string& folder, const std::string& path) {
  const Json document = read_document(path);
  const ConfigReader reader(document, path);
  DenseConfig dense;
  dense.folder = folder;
  dense.n_inputs = reader.integer("in_features", config_limit::kWidth);
  dense.n_outputs = reader.integer("out_features", config_limit::kWidth);
  dense.has_bias = reader.flag("bias", true);
  const std::string activation = last_part(reader.text("activation_function", "Tanh"));
  if (activation == "Tanh") {
    dense.activation = RowActivation::tanh;
  } else if (activation == "Identity") {
    dense.activation = RowActivation::none;
  } else if (activation == "ReLU") {
    dense.activation = RowActivation::relu;
  } else if (activation == "GELU") {
    dense.activation = RowActivation::gelu;
  } else {
    reader.refuse("activation_function", "Tanh, Identity, ReLU or GELU of torch.nn.modules");
  }
  return dense;
}

void read_sparse_pooling(const std::string& path, SentenceModules& modules) {
  const Json document = read_document(path);
  const ConfigReader reader(document, path);
  reader.require_text("pooling_strategy", "max");
  const std::string activation = reader.text("activation_function", "relu");
  if (activation != "relu" && activation != "log1p_relu") {
    reader.refuse("activation_function", "relu or log1p_relu");
  }
  modules.n_sparse_logs = activation == "relu" ? 1 : 2;
  modules.is_sparse = true;
}

void read_module(const std::string& path, const ConfigReader& module, bool is_first,
                 SentenceModules& modules) {
  const std::string kind = last_part(module.text("type", ""));
  const std::string folder = module.text("path", "");
  check_folder(module, folder);
  const std::string own_path = folder.empty() ? path : join_path(path, folder);
  const std::string config_path = join_path(own_path, "config.json");
  const bool is_transformer = kind == "Transformer" || kind == "MLMTransformer" || kind == "CLIPModel";
  if (is_transformer != is_first) {
    module.refuse("type", is_first ? "a Transformer first" : "Pooling, SpladePooling, Dense or Normalize");
  }
  if (is_transformer) {
    modules.transformer_folder = folder;
    const std::string length_path = join_path(own_path, "sentence_bert_config.json");
    if (!file_exists(length_path)) return;
    const Json document = read_document(length_path);
    modules.max_seq_length =
        ConfigReader(document, length_path).integer("max_seq_length", config_limit::kSequence, 0);
  } else if (kind == "Pooling") {
    modules.pooling = read_pooling(config_path);
  } else if (kind == "SpladePooling") {
    read_sparse_pooling(config_path, modules);
  } else if (kind == "Dense") {
    if (folder.empty()) module.refuse("path", "a folder");
    modules.dense.push_back(read_dense(folder, config_path));
  } else if (kind == "Normalize") {
    modules.has_normalize = true;
  } else {
    module.refuse("type", "Transformer, Pooling, SpladePooling, Dense or Normalize");
  }
}

}  // namespace

std::optional<SentenceModules> read_sentence_modules(const std::string& path) {
  const std::string file_name = join_path(path, "modules.json");
  if (!file_exists(file_name)) return std::nullopt;
  const Json document = read_document(file_name);
  if (!document.is_array() || document.empty() || document.size() > 16) {
    throw Error(Status::format_invalid)
        .subject(file_name)
        .say("{}: {} is no list of 1 to 16 modules", file_name, excerpt(write_json(document), 80));
  }
  SentenceModules modules;
  bool is_first = true;
  for (const Json& element : document) {
    const ConfigReader module(element, file_name);
    if (modules.has_normalize) module.refuse("type", "nothing after Normalize");
    read_module(path, module, is_first, modules);
    is_first = false;
  }
  return modules;
}

void apply_sentence_modules(const SentenceModules& modules, std::string_view file_name,
                            EncoderConfig& config) {
  const auto refuse = [&](std::string_view reason) {
    throw Error(Status::config_invalid).subject(file_name).say("{}: {}", file_name, reason);
  };
  if (modules.max_seq_length > 0 && config.text) {
    config.max_seq_length = std::min(modules.max_seq_length, config.text->max_rows);
  }
  if (modules.is_sparse) {
    if (config.head != EncoderHead::sparse) refuse("SpladePooling needs a BertForMaskedLM");
    config.n_sparse_logs = modules.n_sparse_logs;
    return;
  }
  if (config.architecture == "clip") return;
  const bool is_of_tokens = !modules.pooling && !modules.dense.empty();
  if (is_of_tokens) {
    const DenseConfig& dense = modules.dense.front();
    if (modules.dense.size() != 1 || dense.has_bias || dense.activation != RowActivation::none) {
      refuse("without Pooling one Dense module is accepted, a matrix over each token without bias");
    }
    if (config.text && dense.n_inputs != config.text->n_embd) {
      refuse(format_text("Dense of {} inputs, expected {}", dense.n_inputs, config.text->n_embd));
    }
    config.head = EncoderHead::token_projection;
    config.head_width = dense.n_outputs;
    config.head_folder = dense.folder;
    config.pooling = TextPooling::none;
    config.is_normalized = true;
    return;
  }
  if (config.head == EncoderHead::sparse || config.head == EncoderHead::token_projection) {
    config.head = EncoderHead::none;
  }
  if (modules.pooling) config.pooling = *modules.pooling;
  config.dense = modules.dense;
  config.is_normalized = modules.has_normalize;
}

bool is_encoder_directory(const std::string& path) {
  const std::string config_path = join_path(path, "config.json");
  const bool has_modules = file_exists(join_path(path, "modules.json"));
  if (!file_exists(config_path)) return has_modules;
  try {
    const Json config = read_document(config_path);
    if (is_encoder_config(config)) return true;
    const Json* type = config.is_object() ? config.find("model_type") : nullptr;
    const bool is_named = type != nullptr && type->is_string();
    return has_modules && is_named && type->get_ref<const std::string&>() != "llama" &&
           type->get_ref<const std::string&>() != "nanochat";
  } catch (const Error&) {
    return false;
  }
}

}  // namespace nanochat
