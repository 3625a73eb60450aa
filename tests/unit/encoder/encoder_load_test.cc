// Directories that are damaged, of other models, or hostile: a status of the exit-code table, and words that
// name the tensor and both values. Nothing stays allocated.
#include <map>

#include "base/json.h"
#include "unit/encoder/encoder_fixture.h"
#include "unit/io/scratch_folder.h"

namespace nanochat::testing {
namespace {

struct Stored {
  DType dtype = DType::f32;
  Shape shape;
  std::string bytes;
};

// A model directory in memory, to be damaged and written.
struct EditedEncoder {
  Json config;
  std::map<std::string, Stored> tensors;

  explicit EditedEncoder(const std::string& name)
      : config(parse_json(read_file(encoder_path(name) + "/config.json"), name)) {
    const SafetensorsFile file(encoder_path(name) + "/model.safetensors");
    for (const TensorInfo& info : file.tensors()) {
      const auto* data = static_cast<const char*>(file.view(info).data);
      tensors[info.name] = {info.dtype, info.shape, std::string(data, info.n_bytes)};
    }
  }
  void write(const ScratchFolder& folder) const {
    folder.write("config.json", write_json(config));
    std::vector<TensorInfo> infos;
    for (const auto& [name, tensor] : tensors) {
      TensorInfo info;
      info.name = name;
      info.dtype = tensor.dtype;
      info.shape = tensor.shape;
      infos.push_back(info);
    }
    SafetensorsWriter writer(folder.file("model.safetensors"), infos);
    for (const auto& [name, tensor] : tensors) writer.write(as_bytes(tensor.bytes));
    writer.commit();
  }
  void rename(const std::string& from, const std::string& to) {
    auto node = tensors.extract(from);
    node.key() = to;
    tensors.insert(std::move(node));
  }
};

Error load_error(const std::string& path, const EncoderOptions& options = {}) {
  const auto device = make_device();
  Error found(Status::ok);
  try {
    Encoder::load(device, path, options, {});
  } catch (const Error& error) {
    found = error;
  }
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
  if (found.status() != Status::ok && found.status() != Status::model_validation_failed) {
    EXPECT_THROW(Encoder::plan(path, options), Error) << "the plan must refuse what the load refuses";
  }
  return found;
}

template <class Edit>
Error edited_error(const std::string& name, const Edit& edit) {
  EditedEncoder model(name);
  edit(model);
  const ScratchFolder folder;
  model.write(folder);
  return load_error(folder.path());
}

std::string cause_of(const Error& error) {
  if (error.cause() == nullptr) return error.message();
  const std::string& message = error.cause()->message();
  const size_t slash = message.find("/model.safetensors: ");
  return slash == std::string::npos ? message : message.substr(slash + 20);
}

const std::string kQuery = "bert.encoder.layer.1.attention.self.query.weight";

TEST(EncoderLoad, NamesAMissingTensor) {
  const Error error = edited_error("bert_dense", [](EditedEncoder& model) { model.tensors.erase(kQuery); });
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_NE(error.message().find("tensor '" + kQuery + "' is missing"), std::string::npos) << error.message();
}

TEST(EncoderLoad, NamesBothShapes) {
  const Error error = edited_error("bert_dense", [](EditedEncoder& model) {
    model.tensors.at(kQuery).shape = {20, 80};
  });
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_EQ(cause_of(error), "tensor '" + kQuery + "': shape [20,80], expected [40,40]");
}

TEST(EncoderLoad, TellsThatConfigurationAndWeightsAreOfDifferentModels) {
  const Error error = edited_error("bert_mean", [](EditedEncoder& model) {
    model.config["hidden_size"] = 48;
    model.config["num_attention_heads"] = 3;
  });
  EXPECT_EQ(error.status(), Status::model_dimension_mismatch);
  EXPECT_NE(error.message().find("expected 48, got 36"), std::string::npos) << error.message();
}

TEST(EncoderLoad, RefusesValuesThatAreNotFinite) {
  const Error error = edited_error("t5", [](EditedEncoder& model) {
    const float bad = std::numeric_limits<float>::infinity();
    std::memcpy(model.tensors.at("encoder.block.1.layer.1.DenseReluDense.wo.weight").bytes.data() + 40, &bad,
                4);
  });
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_NE(error.message().find("DenseReluDense.wo.weight': element 10 of 2048 is not finite"),
            std::string::npos)
      << error.message();
}

TEST(EncoderLoad, RefusesTensorsInsideOfTheTransformerThatHaveNoPlace) {
  const auto with = [](const std::string& name, const std::string& tensor) {
    return cause_of(edited_error(name, [&](EditedEncoder& model) {
      model.tensors[tensor] = {DType::f32, {1}, "abcd"};
    }));
  };
  EXPECT_EQ(with("bert_dense", "bert.encoder.layer.2.output.dense.bias"),
            "tensor 'bert.encoder.layer.2.output.dense.bias' has no place in a bert encoder of 2 layers");
  EXPECT_EQ(with("clip", "text_model.encoder.layers.0.self_attn.q_norm.weight"),
            "tensor 'text_model.encoder.layers.0.self_attn.q_norm.weight' has no place in a clip encoder of "
            "2 layers");
  EXPECT_EQ(with("t5", "encoder.block.0.layer.2.layer_norm.weight"),
            "tensor 'encoder.block.0.layer.2.layer_norm.weight' has no place in a t5 encoder of 2 layers");
  // Heads of other uses, decoders and buffers are left alone.
  EXPECT_EQ(with("bert_dense", "classifier.bias"), "");
  EXPECT_EQ(with("t5", "decoder.final_layer_norm.weight"), "");
}

TEST(EncoderLoad, FindsAPrefixWhateverItIs) {
  EditedEncoder model("bert_mean");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.tensors) names.push_back(name);
  for (const std::string& name : names) model.rename(name, "0.auto_model." + name);
  const ScratchFolder folder;
  model.write(folder);
  const Expected expected("bert_mean");
  const auto plain = load_encoder("bert_mean");
  const auto prefixed = Encoder::load(make_device(), folder.path(), {}, {});
  const VectorOptions mean{TextPooling::mean, Normalization::unit};
  EXPECT_TRUE(same_bits(encode(*plain, expected.texts(), mean), encode(*prefixed, expected.texts(), mean)));
}

TEST(EncoderLoad, TakesEitherNameOfT5sEmbedding) {
  EditedEncoder model("t5");
  model.rename("shared.weight", "encoder.embed_tokens.weight");
  const ScratchFolder folder;
  model.write(folder);
  const Expected expected("t5");
  const auto renamed = Encoder::load(make_device(), folder.path(), {}, {});
  EXPECT_TRUE(same_bits(encode(*load_encoder("t5"), expected.texts()), encode(*renamed, expected.texts())));
}

TEST(EncoderLoad, LoadsATowerAlone) {
  EditedEncoder model("clip");
  const Json vision = model.config.at("vision_config");
  model.config = vision;
  std::erase_if(model.tensors, [](const auto& entry) { return entry.first.starts_with("text"); });
  const ScratchFolder folder;
  model.write(folder);
  const auto tower = Encoder::load(make_device(), folder.path(), {}, {});
  EXPECT_FALSE(tower->config().text.has_value());
  const Expected expected("clip");
  EXPECT_TRUE(same_bits(encode_pictures(*tower, expected["pixels"], 2),
                        encode_pictures(*load_encoder("clip"), expected["pixels"], 2)));
  EXPECT_THROW(encode(*tower, expected.texts()), Error);
}

TEST(EncoderLoad, TellsWhatIsNotThere) {
  const ScratchFolder folder;
  EXPECT_EQ(load_error(folder.file("nowhere")).status(), Status::model_file_missing);
  EXPECT_EQ(load_error(folder.path()).status(), Status::model_file_missing);
  folder.write("config.json", "{}");
  EXPECT_EQ(load_error(folder.path()).status(), Status::model_file_missing);
  folder.write("model.safetensors", "not at all");
  EXPECT_EQ(load_error(folder.path()).status(), Status::model_load_failed);
  EXPECT_EQ(load_error(model_path("hf_nanochat")).status(), Status::model_load_failed);
}

TEST(EncoderLoad, SaysHowMuchMemoryIsMissingBeforeItTakesAny) {
  const uint64_t needed = Encoder::plan(encoder_path("clip"), {}).weight_bytes;
  const auto load_within = [](uint64_t budget) {
    try {
      load_encoder("clip", make_device("", 2, budget));
    } catch (const Error& error) {
      return error.status();
    }
    return Status::ok;
  };
  EXPECT_EQ(load_within(needed), Status::ok);
  EXPECT_EQ(load_within(needed - 1), Status::budget_exceeded);
}

TEST(EncoderLoad, CanBeStopped) {
  CancelToken cancel;
  cancel.request();
  const auto device = make_device();
  const Watch watch{&cancel, {}};
  EXPECT_THROW(Encoder::load(device, encoder_path("clip"), {}, watch), Error);
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
}

}  // namespace
}  // namespace nanochat::testing
