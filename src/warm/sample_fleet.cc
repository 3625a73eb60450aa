#include "warm/sample_fleet.h"

#include <array>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "encoder/encoder_random.h"
#include "encoder/fuse_moe.h"
#include "warm/record.h"

namespace nanochat {

namespace {

constexpr int64_t kVocabulary = 256;
constexpr int32_t kEndOfText = 5;  // [SEP] in the vocabulary below
constexpr double kTolerance = 1e-4;
constexpr int64_t kTestMs = 30000;  // on a busy machine, in an emulator
constexpr uint64_t kBudget = uint64_t{256} << 20, kHeadroom = uint64_t{64} << 20;

// Every letter, digit and sign stands alone and after others, so that any ASCII text has tokens; then words.
std::string vocabulary() {
  std::vector<std::string> tokens = {"[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (char sign = '!'; sign <= '~'; ++sign) {
    if (sign >= 'A' && sign <= 'Z') continue;  // texts are made lower case
    tokens.emplace_back(1, sign);
  }
  for (const char letter : std::string("abcdefghijklmnopqrstuvwxyz0123456789")) {
    tokens.push_back(std::string("##") + letter);
  }
  const std::array words = {
      "the",   "of",   "and",    "to",    "in",      "is",      "that",  "it",    "for",   "was",   "on",
      "with",  "as",   "at",     "by",    "from",    "not",     "be",    "are",   "this",  "have",  "or",
      "an",    "they", "which",  "one",   "you",     "were",    "all",   "her",   "she",   "there", "would",
      "their", "we",   "him",    "been",  "has",     "when",    "who",   "will",  "no",    "more",  "if",
      "out",   "so",   "up",     "said",  "what",    "its",     "about", "than",  "into",  "them",  "can",
      "only",  "time", "memory", "model", "network", "context", "graph", "quick", "brown", "fox",   "jumps",
      "over",  "lazy", "dog",    "cat",   "code"};
  for (const char* word : words) tokens.emplace_back(word);
  while (std::ssize(tokens) < kVocabulary) tokens.push_back(format_text("[unused{}]", tokens.size()));
  std::string text;
  for (const std::string& token : tokens) text += token + "\n";
  return text;
}

// --- The models --------------------------------------------------------------------------------------------

struct TowerSize {
  int64_t width, heads, hidden, layers;
};

Json bert_config(const char* architecture, const TowerSize& size, int64_t n_positions) {
  return {{"architectures", Json::array({architecture})},
          {"model_type", "bert"},
          {"vocab_size", kVocabulary},
          {"hidden_size", size.width},
          {"num_hidden_layers", size.layers},
          {"num_attention_heads", size.heads},
          {"intermediate_size", size.hidden},
          {"hidden_act", "gelu"},
          {"max_position_embeddings", n_positions},
          {"type_vocab_size", 2},
          {"layer_norm_eps", 1e-12},
          {"pad_token_id", 0}};
}

Json longformer_config() {
  Json config = bert_config("LongformerModel", {48, 4, 96, 2}, 514);
  config["model_type"] = "longformer";
  config["type_vocab_size"] = 1;
  config["attention_window"] = Json::array({32, 32});
  return config;
}

Json colbert_config() {
  Json config = bert_config("HF_ColBERT", {48, 4, 96, 2}, 128);
  config["dim"] = 8;
  return config;
}

Json codet5p_config() {
  return {{"architectures", Json::array({"CodeT5p_Embedding"})},
          {"model_type", "codet5p_embedding"},
          {"vocab_size", kVocabulary},
          {"d_model", 48},
          {"d_kv", 12},
          {"d_ff", 96},
          {"num_layers", 2},
          {"num_heads", 4},
          {"n_positions", 128},
          {"embed_dim", 16},
          {"feed_forward_proj", "relu"},
          {"relative_attention_num_buckets", 32},
          {"relative_attention_max_distance", 64},
          {"layer_norm_epsilon", 1e-6}};
}

Json clip_tower(const TowerSize& size) {
  return {{"hidden_size", size.width},         {"num_hidden_layers", size.layers},
          {"num_attention_heads", size.heads}, {"intermediate_size", size.hidden},
          {"hidden_act", "quick_gelu"},        {"layer_norm_eps", 1e-5}};
}

Json clip_config() {
  Json text = clip_tower({48, 4, 96, 2}), vision = clip_tower({64, 4, 128, 1});
  text["vocab_size"] = kVocabulary;
  text["max_position_embeddings"] = 77;
  text["eos_token_id"] = kEndOfText;
  vision["image_size"] = 32;
  vision["patch_size"] = 16;
  return {{"architectures", Json::array({"CLIPModel"})},
          {"model_type", "clip"},
          {"projection_dim", 48},
          {"text_config", std::move(text)},
          {"vision_config", std::move(vision)}};
}

// --- The manifest ------------------------------------------------------------------------------------------

struct Member {
  const char* id;
  const char* kind;
  int64_t width;     // of its part in the row that is fused
  const char* test;  // key of the test's input
  const char* input;
  Json model;     // config.json; null: computed
  Json settings;  // what else its entry says
};

constexpr const char* kMoment = "2026-01-03T12:00:00Z";

std::vector<Member> list_members() {
  return {{"E1_Semantic", "encoder", 64, "text", "The quick brown fox jumps over the lazy dog", {}, {}},
          {"E2_TemporalRecent", "temporal_recent", 32, "time", kMoment, {}, {}},
          {"E3_TemporalPeriodic", "temporal_periodic", 32, "time", kMoment, {}, {}},
          {"E4_TemporalPositional", "temporal_positional", 32, "position", "17", {}, {}},
          {"E5_Causal", "encoder", 48, "text", "The quick brown fox", {}, {}},
          {"E6_Sparse", "encoder", 96, "text", "information retrieval", {}, {}},
          {"E7_Code", "encoder", 48, "text", "def hello(): return 42", {}, {}},
          {"E8_Graph", "encoder", 24, "text", "semantic similarity", {}, {}},
          {"E9_HDC", "hyperdimensional", 64, "text", "hyperdimensional test", {}, {}},
          {"E10_Multimodal", "encoder", 48, "text", "a photo of a cat", {}, {}},
          {"E11_Entity", "encoder", 24, "text", "Paris France capital", {}, {}},
          {"E12_LateInteraction", "encoder", 8, "text", "neural information retrieval", {}, {}}};
}

// E1 is number 1.
std::vector<Member> list_models() {
  const TowerSize small{24, 2, 48, 2}, medium{48, 4, 96, 2}, large{64, 4, 128, 2};
  const Json mean = {{"pooling", "mean"}, {"normalize", true}};
  std::vector<Member> all = list_members();
  const auto set = [&all](size_t number, Json model, Json settings) {
    all[number - 1].model = std::move(model);
    all[number - 1].settings = std::move(settings);
  };
  set(1, bert_config("BertModel", large, 512), mean);
  all[0].settings["prefix"] = "query: ";
  all[1].settings["reference_time"] = "2026-06-01T00:00:00Z";
  set(5, longformer_config(), mean);
  set(6, bert_config("BertForMaskedLM", medium, 128), {});
  set(7, codet5p_config(), {});
  set(8, bert_config("BertModel", small, 128), mean);
  set(10, clip_config(), {});
  set(11, bert_config("BertModel", small, 128), mean);
  set(12, colbert_config(), {});
  all[11].settings["role"] = "document";
  return all;
}

Json test_json(const Member& member) {
  Json test = Json::object();
  test[member.test] = member.input;
  test["tolerance"] = kTolerance;
  test["max_ms"] = kTestMs;
  return test;
}

Json entry_json(const Member& member) {
  Json entry = {{"id", member.id}, {"kind", member.kind}};
  if (!member.model.is_null()) entry["path"] = member.id;
  if (member.settings.is_object()) {
    for (const JsonMember& setting : member.settings.items()) entry[setting.key] = setting.value;
  }
  entry["test"] = test_json(member);
  return entry;
}

Json fusion_json(const std::vector<Member>& members) {
  Json inputs = Json::array();
  for (const Member& member : members) {
    inputs.push_back({{"component", member.id}, {"width", member.width}});
  }
  Json entry = {{"id", "FuseMoE"}, {"kind", "fusion"}, {"path", "FuseMoE"}};
  entry["inputs"] = std::move(inputs);
  entry["test"] = {
      {"reference", "reference/FuseMoE.safetensors"}, {"tolerance", kTolerance}, {"max_ms", kTestMs}};
  return entry;
}

// Answers are those of fp32 weights, so that is what it is loaded as.
Json manifest_json(const std::vector<Member>& members) {
  Json config = {{"vram_budget_bytes", kBudget}, {"vram_headroom_bytes", kHeadroom}};
  config["diagnostic_dump_path"] = "dumps";
  config["quantization"] = "FP32";
  Json components = Json::array();
  for (const Member& member : members) components.push_back(entry_json(member));
  components.push_back(fusion_json(members));
  return {{"schema", "nanochat.fleet.v1"},
          {"name", "sample-12"},
          {"config", std::move(config)},
          {"components", std::move(components)}};
}

// --- Writing -----------------------------------------------------------------------------------------------

class SampleWriter {
 public:
  SampleWriter(std::shared_ptr<Device> device, std::string path, uint64_t seed, const Watch& watch)
      : device_(std::move(device)), path_(std::move(path)), seed_(seed), watch_(watch) {}

  void write() {
    make_directories(join_path(path_, "reference"));
    const std::string words = vocabulary();
    for (size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].model.is_null()) continue;
      const std::string folder = join_path(path_, members_[i].id);
      write_random_encoder(folder, members_[i].model, seed_ * 64 + i, watch_);
      write_file(join_path(folder, "vocab.txt"), words);
    }
    write_fusion();
    const std::string manifest = join_path(path_, "manifest.json");
    write_file(manifest, write_json(manifest_json(members_), 2));
    write_file(manifest, recorded(manifest));
  }

 private:
  void write_fusion() const {
    FuseMoeConfig config = FuseMoeConfig::for_inference();
    config.input_dim = 0;
    for (const Member& member : members_) config.input_dim += member.width;
    config.expert_hidden_dim = 64;
    config.output_dim = 96;
    const ModelOptions options{.weight_dtype = WeightDtype::f32};
    const auto fusion =
        FuseMoe::create_random(device_, config, seed_ * 64 + members_.size(), options, watch_);
    fusion->save(join_path(path_, "FuseMoE"), watch_);
    constexpr int64_t kTestRows = 2;
    ReferenceTensors test;
    test.input_shape = {kTestRows, config.input_dim};
    test.input.resize(static_cast<size_t>(kTestRows * config.input_dim));
    const CounterRandom random(seed_, members_.size());
    for (size_t i = 0; i < test.input.size(); ++i) test.input[i] = static_cast<float>(0.1 * random.normal(i));
    test.output = fusion->forward({test.input, kTestRows, config.input_dim}, watch_).values;
    write_reference(join_path(path_, "reference/FuseMoE.safetensors"), test);
  }

  // The manifest with the answers, which the fleet gives itself.
  std::string recorded(const std::string& manifest) const {
    WarmSettings settings;
    settings.headroom_bytes = 0;
    settings.dump_path = "";
    const auto fleet = Fleet::open(device_, manifest, settings);
    fleet->warm({watch_.cancel, {}, {}});
    return record_fleet(*fleet, "", watch_);
  }

  std::shared_ptr<Device> device_;
  std::string path_;
  uint64_t seed_;
  const Watch& watch_;
  const std::vector<Member> members_ = list_models();
};

}  // namespace

void write_sample_fleet(const std::shared_ptr<Device>& device, const std::string& path, uint64_t seed,
                        const Watch& watch) {
  SampleWriter(device, path, seed, watch).write();
}

}  // namespace nanochat
