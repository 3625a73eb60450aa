#include <bit>
#include <cmath>

#include "base/error.h"
#include "model/model_export.h"
#include "model/tensor_slots.h"
#include "unit/io/gguf_reader.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

const std::vector<GgufEntry> kNoVocabulary = {{"tokenizer.ggml.model", std::string("no_vocab")}};

ReadGguf exported(const Model& model, ExportDtype dtype = ExportDtype::as_held) {
  const ScratchFolder folder;
  export_gguf(model, kNoVocabulary, folder.file("tiny.gguf"), dtype, {});
  return read_gguf(file_bytes(folder.file("tiny.gguf")));
}

// A Llama model of a shape that hides no mistake: heads wider than the stream, fewer key heads.
std::shared_ptr<const Model> wide_headed(WeightDtype dtype) {
  ModelConfig config = nanochat_shape("llama-d1");
  config.n_head = 4;
  config.n_kv_head = 2;
  config.head_dim = 32;
  config.attn_scale = 1.0F / std::sqrt(32.0F);
  config.vocab_size = config.padded_vocab_size = 100;
  config.rope_base = 500000.0;
  return Model::create_random(make_device(), config, 11, {dtype}, {});
}

TEST(GgufExport, SaysWhatTheModelIs) {
  const ReadGguf file = exported(*load(model_path("stories260K")));
  EXPECT_EQ(file.version, 3U);
  EXPECT_EQ(file.values.at("general.architecture").text(), "llama");
  EXPECT_EQ(file.values.at("general.name").text(), "tiny");
  EXPECT_EQ(file.values.at("general.alignment").number(), 32);
  EXPECT_EQ(file.values.at("general.file_type").number(), 0);
  const std::vector<std::pair<std::string, double>> expected = {
      {"vocab_size", 512},
      {"context_length", 512},
      {"embedding_length", 64},
      {"block_count", 5},
      {"feed_forward_length", 172},
      {"attention.head_count", 8},
      {"attention.head_count_kv", 4},
      {"rope.dimension_count", 8},
      {"rope.freq_base", 10000},
      {"attention.layer_norm_rms_epsilon", static_cast<double>(1e-5F)}};
  for (const auto& [key, value] : expected) EXPECT_EQ(file.values.at("llama." + key).number(), value) << key;
  EXPECT_FALSE(file.values.contains("llama.attention.key_length"));
  EXPECT_EQ(file.values.at("tokenizer.ggml.model").text(), "no_vocab");
}

TEST(GgufExport, StatesTheWidthOfHeadsThatTheStreamDoesNotTell) {
  const ReadGguf file = exported(*wide_headed(WeightDtype::f32));
  EXPECT_EQ(file.values.at("llama.attention.key_length").number(), 32);
  EXPECT_EQ(file.values.at("llama.attention.value_length").number(), 32);
  EXPECT_EQ(file.values.at("llama.rope.dimension_count").number(), 32);
  EXPECT_EQ(file.values.at("llama.rope.freq_base").number(), 500000);
}

// Row r of a q or k matrix in the file, of a head whose rope turns neighbours, is this row of one whose rope
// turns halves.
size_t half_split_row(size_t row, size_t head_dim) {
  const size_t head = row / head_dim, pair = row % head_dim / 2, is_second = row % 2;
  return head * head_dim + is_second * (head_dim / 2) + pair;
}

// The file's tensors against the stored ones, value for value.
void expect_same_tensors(const ReadGguf& file, const std::string& path, size_t head_dim) {
  const SafetensorsFile stored(path + "/model.safetensors");
  const std::vector<std::pair<std::string, std::string>> names = {
      {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
      {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
      {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"}};
  for (int layer = 0; layer < 5; ++layer) {
    for (const auto& [name, stored_name] : names) {
      const std::string in_file = "blk." + std::to_string(layer) + "." + name + ".weight";
      const std::string in_folder = "model.layers." + std::to_string(layer) + "." + stored_name + ".weight";
      std::vector<float> expected = floats_of(stored, in_folder);
      if (name == "attn_q" || name == "attn_k") {
        const std::vector<float> rows = expected;
        const size_t width = file.tensor(in_file).dimensions[0];
        for (size_t row = 0; row < rows.size() / width; ++row) {
          const auto from = rows.begin() + static_cast<ptrdiff_t>(half_split_row(row, head_dim) * width);
          std::copy(from, from + static_cast<ptrdiff_t>(width),
                    expected.begin() + static_cast<ptrdiff_t>(row * width));
        }
      }
      EXPECT_EQ(file.data<float>(in_file), expected) << in_file;
    }
  }
  EXPECT_EQ(file.data<float>("token_embd.weight"), floats_of(stored, "model.embed_tokens.weight"));
  EXPECT_EQ(file.data<float>("output_norm.weight"), floats_of(stored, "model.norm.weight"));
}

TEST(GgufExport, HasEveryValueOfTheStoredModel) {
  const ReadGguf file = exported(*load(model_path("stories260K")));
  EXPECT_EQ(file.tensors.size(), 5 * 9 + 2U);  // tied: no output.weight
  for (const ReadGguf::Tensor& tensor : file.tensors) {
    EXPECT_EQ(tensor.offset % 32, 0U) << tensor.name;
    EXPECT_EQ(tensor.type, 0U) << tensor.name;
  }
  EXPECT_EQ(file.tensor("blk.0.ffn_down.weight").dimensions, (std::vector<uint64_t>{172, 64}));
  expect_same_tensors(file, model_path("stories260K"), 8);
}

TEST(GgufExport, RoundsOnceAndKeepsNormsInF32) {
  const auto model = wide_headed(WeightDtype::f32);
  const ReadGguf whole = exported(*model), half = exported(*model, ExportDtype::f16),
                 brain = exported(*model, ExportDtype::bf16);
  EXPECT_EQ(half.values.at("general.file_type").number(), 1);
  EXPECT_EQ(brain.values.at("general.file_type").number(), 32);
  for (const char* name :
       {"token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.0.ffn_down.weight"}) {
    const std::vector<float> values = whole.data<float>(name);
    const std::vector<uint16_t> halves = half.data<uint16_t>(name), brains = brain.data<uint16_t>(name);
    EXPECT_EQ(half.tensor(name).type, 1U);
    EXPECT_EQ(brain.tensor(name).type, 30U);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto rounded = static_cast<_Float16>(values[i]);
      ASSERT_EQ(halves[i], std::bit_cast<uint16_t>(rounded)) << name << "[" << i << "]";
      // The nearest value of eight significant bits, ties to the even one.
      int exponent = 0;
      const float mantissa = std::frexp(values[i], &exponent);
      ASSERT_EQ(float_from_bf16(brains[i]),
                std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8));
    }
  }
  for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"}) {
    EXPECT_EQ(half.data<float>(name), whole.data<float>(name));
    EXPECT_EQ(brain.data<float>(name), whole.data<float>(name));
  }
}

TEST(GgufExport, OfABf16ModelIsBf16AndTheSameBits) {
  const ReadGguf held = exported(*wide_headed(WeightDtype::bf16));
  const ReadGguf rounded = exported(*wide_headed(WeightDtype::f32), ExportDtype::bf16);
  EXPECT_TRUE(held.bytes == rounded.bytes);
  const ReadGguf wide = exported(*wide_headed(WeightDtype::bf16), ExportDtype::f32);
  const std::vector<uint16_t> words = held.data<uint16_t>("output.weight");
  const std::vector<float> values = wide.data<float>("output.weight");
  for (size_t i = 0; i < words.size(); ++i) ASSERT_EQ(float_from_bf16(words[i]), values[i]);
}

// A value of 70000 in one element of one matrix.
TEST(GgufExport, RefusesAValueThatFloat16CannotHold) {
  const ScratchFolder folder;
  wide_headed(WeightDtype::f32)->save(folder.path(), {});
  std::string bytes = file_bytes(folder.file("model.safetensors"));
  {
    const SafetensorsFile file(folder.file("model.safetensors"));
    const TensorInfo& info = *file.find("model.layers.0.self_attn.k_proj.weight");
    const float large = 70000.0F;
    std::memcpy(bytes.data() + info.offset + (33 * 64 + 5) * sizeof(float), &large, sizeof large);
  }
  folder.write("model.safetensors", bytes);
  const auto model = load(folder.path());
  EXPECT_NO_THROW(exported(*model, ExportDtype::bf16));
  try {
    export_gguf(*model, kNoVocabulary, folder.file("large.gguf"), ExportDtype::f16, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
    EXPECT_EQ(error.subject(), "model.layers.0.self_attn.k_proj.weight");
    EXPECT_NE(error.message().find("[33,5] is 70000"), std::string::npos) << error.message();
  }
  EXPECT_FALSE(file_exists(folder.file("large.gguf")));
}

TEST(GgufExport, RefusesOtherArchitecturesByName) {
  for (const std::string& path :
       {golden_path("v0_mha"), golden_path("v1_chunked"), model_path("hf_nanochat")}) {
    const auto model = load(path);
    const ScratchFolder folder;
    try {
      export_gguf(*model, kNoVocabulary, folder.file("a.gguf"), ExportDtype::f32, {});
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::unsupported);
      EXPECT_NE(error.message().find(model->config().architecture), std::string::npos) << error.message();
    }
    EXPECT_TRUE(list_directory(folder.path()).empty());
  }
}

TEST(GgufExport, StoppedOrFailedItLeavesTheOldFile) {
  const auto model = load(model_path("stories260K"));
  const ScratchFolder folder;
  folder.write("a.gguf", "old");
  for (int last = 0; last < 5; ++last) {
    int n = 0;
    Watch watch;
    watch.on_progress = [&](const Progress& at) {
      EXPECT_STREQ(at.stage, "export");
      EXPECT_LE(at.done, at.total);
      return n++ < last;
    };
    EXPECT_THROW(export_gguf(*model, {}, folder.file("a.gguf"), ExportDtype::f32, watch), Error);
    int n_writes = 0;
    set_file_fault([&](const char* call, const std::string&) {
      return std::string_view(call).starts_with("write") && n_writes++ == last ? 28 : 0;  // ENOSPC
    });
    EXPECT_THROW(export_gguf(*model, {}, folder.file("a.gguf"), ExportDtype::f32, {}), Error);
    set_file_fault({});
    EXPECT_EQ(file_bytes(folder.file("a.gguf")), "old");
  }
  EXPECT_EQ(list_directory(folder.path()).size(), 1U);
}

TEST(LlamaShape, OfDepthTwentyHasTheParametersItShould) {
  const ModelConfig config = nanochat_shape("llama-d20");
  EXPECT_EQ(config.n_layer, 20);
  EXPECT_EQ(config.n_embd, 1280);
  EXPECT_EQ(config.n_head, 10);
  EXPECT_EQ(config.n_kv_head, 10);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.mlp_hidden, 3328);
  EXPECT_EQ(config.vocab_size, 65536);
  EXPECT_EQ(config.sequence_len, 2048);
  EXPECT_EQ(config.lm_head, LmHead::untied);
  int64_t n_parameters = 0;
  for (const TensorSlot& slot : tensor_slots(config)) n_parameters += slot.n_elements();
  EXPECT_EQ(n_parameters, 554487040);
  EXPECT_EQ(parse_model_config(model_config_json(config), "config.json"), config);
}

}  // namespace
}  // namespace nanochat::testing
