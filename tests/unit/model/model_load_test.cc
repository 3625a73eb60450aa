// Loading: all or nothing, planned to the byte, and every kind of damage told in the words of the error
// table.
#include <algorithm>
#include <map>

#include "base/json.h"
#include "memory/callback_memory.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

struct StoredTensor {
  DType dtype = DType::f32;
  Shape shape;
  std::string bytes;
};

// A model directory in memory, to be damaged and written.
struct EditedModel {
  Json config;
  std::map<std::string, StoredTensor> tensors;
  std::string weights_name;

  explicit EditedModel(const std::string& path)
      : config(parse_json(read_file(path + "/config.json"), path)),
        weights_name(file_exists(path + "/weights.safetensors") ? "weights.safetensors"
                                                                : "model.safetensors") {
    const SafetensorsFile file(path + "/" + weights_name);
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
    SafetensorsWriter writer(folder.file(weights_name), infos);
    for (const auto& [name, tensor] : tensors) writer.write(as_bytes(tensor.bytes));
    writer.commit();
  }

  void set(const std::string& name, size_t element, float value) {
    std::memcpy(tensors.at(name).bytes.data() + element * sizeof(float), &value, sizeof value);
  }

  void round_to(DType dtype, const std::string& name) {
    StoredTensor& tensor = tensors.at(name);
    std::string words;
    for (size_t i = 0; i < tensor.bytes.size(); i += 4) {
      float value = 0.0F;
      std::memcpy(&value, tensor.bytes.data() + i, 4);
      const uint16_t word = dtype == DType::bf16 ? bf16_from_float(value) : f16_from_float(value);
      words.append(reinterpret_cast<const char*>(&word), 2);
    }
    tensor.bytes = words;
    tensor.dtype = dtype;
  }
};

Error load_error(const std::string& path, std::shared_ptr<Device> device = make_device(),
                 const ModelOptions& options = {}, const Watch& watch = {}) {
  try {
    Model::load(std::move(device), path, options, watch);
  } catch (const Error& error) {
    return error;
  }
  return Error(Status::ok);
}

std::string field_of(const Error& error, const std::string& name) {
  for (const Error::Field& field : error.fields()) {
    if (field.name == name) return field.text;
  }
  return "(none)";
}

// What a bad directory gives, and that nothing stays behind.
Error edited_load_error(const std::string& source, const std::function<void(EditedModel&)>& edit) {
  EditedModel model(source);
  edit(model);
  const ScratchFolder folder;
  model.write(folder);
  const auto device = make_device();
  const Error error = load_error(folder.path(), device);
  EXPECT_EQ(device->memory().stats().used_bytes, 0U);
  if (error.status() != Status::model_validation_failed) {
    EXPECT_THROW(Model::plan(folder.path(), {}), Error) << "the plan must refuse what the load refuses";
  }
  return error;
}

const std::string kV1 = golden_path("v1_chunked");

class LoadedModel : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(LoadedModel);

TEST_P(LoadedModel, TakesExactlyWhatThePlanSays) {
  for (const std::string& path : {kV1, golden_path("v0_odd_vocab"), model_path("stories260K"),
                                  model_path("hf_llama_gqa_sharded"), model_path("hf_nanochat")}) {
    for (const WeightDtype dtype :
         {WeightDtype::as_stored, WeightDtype::bf16, WeightDtype::f32, WeightDtype::i8}) {
      const ModelPlan plan = Model::plan(path, {dtype});
      const MemoryStats before = device_->memory().stats();
      {
        const auto model = load(path, device_, {dtype});
        EXPECT_EQ(device_->memory().stats().model_bytes - before.model_bytes, plan.weight_bytes) << path;
        EXPECT_EQ(device_->memory().stats().working_bytes, before.working_bytes);
        EXPECT_EQ(model->plan().weight_bytes, plan.weight_bytes);
        EXPECT_EQ(model->plan().bytes_per_decoded_token, plan.bytes_per_decoded_token);
      }
      EXPECT_EQ(device_->memory().stats().used_bytes, before.used_bytes);
    }
  }
}

TEST_P(LoadedModel, LiesInTheDevicesMemoryAndHasTheChecksumOfItsBytes) {
  const auto model = load(kV1, device_);
  EXPECT_EQ(model->checksum(), load(kV1, make_device("reference"))->checksum());
  const Weights& weights = model->weights();
  for (const PackedMatrix& matrix : {weights.lm_head, weights.layers[0].qkv, weights.layers[2].mlp_out}) {
    EXPECT_TRUE(device_->is_resident(
        matrix.data, static_cast<size_t>(PackedMatrix::packed_bytes(matrix.dtype, matrix.n, matrix.k))));
  }
}

TEST_P(LoadedModel, MustBeFinite) {
  for (const WeightDtype dtype : {WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8}) {
    EditedModel edited(kV1);
    edited.set("transformer.h.1.mlp.c_proj.weight", 77, NAN);
    const ScratchFolder folder;
    edited.write(folder);
    const uint64_t before = device_->memory().stats().used_bytes;
    const Error error = load_error(folder.path(), device_, {dtype});
    EXPECT_EQ(error.status(), Status::model_validation_failed) << error.message();
    EXPECT_NE(error.message().find("transformer.h.1.mlp.c_proj.weight"), std::string::npos)
        << error.message();
    EXPECT_EQ(device_->memory().stats().used_bytes, before);
  }
}

TEST(ModelLoad, PlansParametersBytesAndOperations) {
  const ModelPlan plan = Model::plan(kV1, {});
  const EditedModel model(kV1);
  uint64_t n_bytes = 0;
  for (const auto& [name, tensor] : model.tensors) n_bytes += tensor.bytes.size();
  EXPECT_EQ(plan.file_bytes, n_bytes);
  EXPECT_EQ(plan.n_parameters, static_cast<int64_t>(n_bytes / 4));
  // n_layer 3, n_embd 32, 4 heads and 2 of keys of width 8, vocabulary 111: matrices of blocks, head, gates.
  const uint64_t per_block = 32 * 32 + 2 * 16 * 32 + 32 * 32 + 2 * 4 * 32 * 32;
  EXPECT_EQ(plan.flops_per_decoded_token, 2 * (3 * per_block + 111 * 32 + 2 * 2 * 12 + 24));
  EXPECT_EQ(plan.kv_bytes_per_token, (3 * 2 * 16 + 32) * 4U);
}

TEST(ModelLoad, FitsABudgetToTheByte) {
  const uint64_t needed = Model::plan(kV1, {}).weight_bytes;
  EXPECT_EQ(load_error(kV1, make_device("", 2, needed)).status(), Status::ok);
  int n_allocations = 0;
  MemoryCallbacks callbacks;
  callbacks.user_data = &n_allocations;
  callbacks.allocate = [](size_t bytes, size_t alignment, void* count) {
    ++*static_cast<int*>(count);
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  callbacks.free = [](void* pointer, size_t, size_t, void*) { std::free(pointer); };
  const Error error =
      load_error(kV1, make_device("", 2, needed - 1, std::make_shared<CallbackMemory>(callbacks)));
  EXPECT_EQ(error.status(), Status::budget_exceeded);
  EXPECT_EQ(n_allocations, 0) << "it must fail before it allocates";
}

TEST(ModelLoad, LeaksNothingWhicheverAllocationFails) {
  struct Counter {
    int n = 0, fail_at = 0, live = 0;
  };
  const std::vector<int32_t> tokens = {1, 2, 3};
  int n_failures = 0;
  for (int fail_at = 1;; ++fail_at) {
    Counter counter{0, fail_at, 0};
    MemoryCallbacks callbacks;
    callbacks.user_data = &counter;
    callbacks.allocate = [](size_t bytes, size_t alignment, void* data) -> void* {
      auto* count = static_cast<Counter*>(data);
      if (++count->n >= count->fail_at) return nullptr;  // a retry must not help
      ++count->live;
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    callbacks.free = [](void* pointer, size_t, size_t, void* data) {
      --static_cast<Counter*>(data)->live;
      std::free(pointer);
    };
    bool failed = false;
    try {
      const auto model = load(kV1, make_device("", 2, 0, std::make_shared<CallbackMemory>(callbacks)));
      KvCache cache(model, 16);
      feed(cache, tokens);
      const KvCache copy = cache.clone();
    } catch (const Error& error) {
      failed = true;
      EXPECT_TRUE(error.status() == Status::out_of_memory ||
                  error.status() == Status::working_memory_exhausted);
    }
    EXPECT_EQ(counter.live, 0) << "allocation " << fail_at;
    if (!failed) break;
    ++n_failures;
  }
  EXPECT_GE(n_failures, 3);
}

TEST(ModelLoad, CancelledAtAnyStepItLeavesNothing) {
  const auto device = make_device("", 1);
  std::vector<uint64_t> steps;
  Watch count;
  count.on_progress = [&](const Progress& progress) {
    EXPECT_EQ(std::string(progress.stage), "load");
    EXPECT_LE(progress.done, progress.total);
    steps.push_back(progress.done);
    return true;
  };
  Model::load(device, kV1, {}, count);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.back(), Model::plan(kV1, {}).file_bytes);
  EXPECT_GE(steps.size(), 10U);
  for (size_t last = 0; last < steps.size(); ++last) {
    size_t n = 0;
    Watch stop;
    stop.on_progress = [&](const Progress&) { return n++ < last; };
    EXPECT_EQ(load_error(kV1, device, {}, stop).status(), Status::cancelled);
    CancelToken token;
    n = 0;
    Watch cancel;
    cancel.cancel = &token;
    cancel.on_progress = [&](const Progress&) {
      if (n++ == last) token.request();
      return true;
    };
    EXPECT_EQ(load_error(kV1, device, {}, cancel).status(), Status::cancelled);
    EXPECT_EQ(device->memory().stats().used_bytes, 0U) << "step " << last;
  }
}

TEST(ModelLoad, NamesWhatIsMissing) {
  const ScratchFolder folder;
  const Error nothing = load_error(folder.path() + "/no-such-model/");
  EXPECT_EQ(nothing.status(), Status::model_file_missing);
  EXPECT_EQ(field_of(nothing, "model_id"), "no-such-model");
  EXPECT_NE(nothing.message().find("Model file missing: no-such-model not found at "), std::string::npos);
  EXPECT_EQ(load_error(folder.path()).status(), Status::model_file_missing);
  folder.write("config.json", file_bytes(kV1 + "/config.json"));
  const Error no_weights = load_error(folder.path());
  EXPECT_EQ(no_weights.status(), Status::model_file_missing);
  EXPECT_NE(field_of(no_weights, "path"), "(none)");
  ASSERT_NE(no_weights.cause(), nullptr);
  EXPECT_EQ(no_weights.cause()->status(), Status::file_not_found);
}

TEST(ModelLoad, NamesAMissingTensorAndOneTooMany) {
  const Error missing =
      edited_load_error(kV1, [](EditedModel& m) { m.tensors.erase("transformer.h.1.mlp.c_fc.weight"); });
  EXPECT_EQ(missing.status(), Status::model_load_failed);
  EXPECT_NE(missing.message().find("transformer.h.1.mlp.c_fc.weight"), std::string::npos)
      << missing.message();
  EXPECT_NE(missing.message().find("Model load failed for "), std::string::npos) << missing.message();
  EXPECT_EQ(field_of(missing, "bytes_read"), "0");
  EXPECT_NE(field_of(missing, "file_size"), "0");
  EXPECT_EQ(missing.cause()->status(), Status::format_invalid);

  const Error extra =
      edited_load_error(kV1, [](EditedModel& m) { m.tensors["surprise"] = m.tensors["resid_lambdas"]; });
  EXPECT_EQ(extra.status(), Status::model_load_failed);
  EXPECT_NE(extra.message().find("surprise"), std::string::npos) << extra.message();
}

TEST(ModelLoad, NamesEveryTensorOfAWrongShape) {
  const EditedModel original(kV1);
  for (const auto& [name, tensor] : original.tensors) {
    const Error error = edited_load_error(kV1, [&](EditedModel& m) {
      StoredTensor& wrong = m.tensors[name];
      wrong.shape.front() += 1;
      wrong.bytes.resize(static_cast<size_t>(TensorView{DType::f32, wrong.shape, nullptr}.n_bytes()));
    });
    EXPECT_EQ(error.status(), Status::model_load_failed) << name;
    EXPECT_NE(error.message().find(name), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("expected " + std::string(FormatArgument(tensor.shape).text())),
              std::string::npos)
        << error.message();
  }
}

TEST(ModelLoad, TellsAWidthThatIsNotTheConfigurations) {
  const Error error = edited_load_error(kV1, [](EditedModel& m) {
    m.tensors["transformer.wte.weight"].shape = {256, 16};
  });
  EXPECT_EQ(error.status(), Status::model_dimension_mismatch);
  EXPECT_EQ(field_of(error, "expected"), "32");
  EXPECT_EQ(field_of(error, "actual"), "16");
  EXPECT_NE(error.message().find("expected 32, got 16"), std::string::npos) << error.message();
}

TEST(ModelLoad, RefusesIntegersAsWeights) {
  const Error error =
      edited_load_error(kV1, [](EditedModel& m) { m.tensors["resid_lambdas"].dtype = DType::i32; });
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_NE(error.message().find("I32"), std::string::npos) << error.message();
}

// NaN and infinity in the first and last element of every tensor of every kind, in each stored dtype.
TEST(ModelLoad, FindsNotFiniteValuesInEveryTensor) {
  for (const std::string& source : {kV1, model_path("stories260K")}) {
    const EditedModel original(source);
    for (const auto& [name, tensor] : original.tensors) {
      const size_t n = tensor.bytes.size() / 4;
      for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const size_t element = dtype == DType::bf16 ? 0 : n - 1;
        const Error error = edited_load_error(source, [&](EditedModel& m) {
          m.set(name, element, dtype == DType::f32 ? std::nanf("") : -HUGE_VALF);
          if (dtype != DType::f32) m.round_to(dtype, name);
        });
        EXPECT_EQ(error.status(), Status::model_validation_failed) << name;
        EXPECT_EQ(field_of(error, "tensor"), name);
        EXPECT_EQ(field_of(error, "index"), std::to_string(element)) << name;
        EXPECT_NE(error.message().find("Model validation failed for "), std::string::npos);
      }
    }
  }
}

TEST(ModelLoad, ReportsTheFirstOfSeveralBadValuesOnAnyNumberOfThreads) {
  EditedModel model(kV1);
  for (const char* name : {"transformer.h.0.mlp.c_fc.weight", "transformer.h.2.mlp.c_proj.weight"}) {
    for (size_t i = 5; i < 100; ++i) model.set(name, i, std::nanf(""));
  }
  const ScratchFolder folder;
  model.write(folder);
  for (int n_threads = 1; n_threads <= 4; ++n_threads) {
    for (int round = 0; round < 5; ++round) {
      const Error error = load_error(folder.path(), make_device("", n_threads));
      EXPECT_EQ(field_of(error, "tensor"), "transformer.h.0.mlp.c_fc.weight");
      EXPECT_EQ(field_of(error, "index"), "5");
    }
  }
}

TEST(ModelLoad, RefusesATruncatedFileAtAnyLength) {
  const std::string bytes = file_bytes(kV1 + "/weights.safetensors");
  const ScratchFolder folder;
  folder.write("config.json", file_bytes(kV1 + "/config.json"));
  for (const size_t length :
       {size_t{0}, size_t{7}, size_t{8}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    folder.write("weights.safetensors", std::string_view(bytes).substr(0, length));
    const Error error = load_error(folder.path());
    EXPECT_EQ(error.status(), Status::model_load_failed) << length;
    EXPECT_EQ(field_of(error, "file_size"), std::to_string(length));
  }
}

// One bf16 scalar at the start, and no fp32 value behind it lies at a multiple of 4.
EditedModel unaligned_model() {
  EditedModel model(kV1);
  model.round_to(DType::bf16, model.tensors.begin()->first);
  return model;
}

TEST(ModelLoad, ReadsTensorsThatAreNotAligned) {
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6};
  EditedModel model = unaligned_model(), aligned(kV1);
  const std::string name = model.tensors.begin()->first;
  uint16_t word = 0;
  std::memcpy(&word, model.tensors.at(name).bytes.data(), sizeof word);
  aligned.set(name, 0, float_from_bf16(word));
  const ScratchFolder first, second;
  model.write(first);
  aligned.write(second);
  EXPECT_TRUE(same_bits(logits_of(load(first.path()), tokens), logits_of(load(second.path()), tokens)));
}

TEST(ModelLoad, TellsAReadThatFailsOnTheWay) {
  const ScratchFolder folder;
  unaligned_model().write(folder);
  int n_failures = 0;
  for (int fail_at = 1; fail_at < 60; fail_at += 7) {
    int n_reads = 0;
    const auto device = make_device("", 1);
    set_file_fault([&](const char* call, const std::string& path) {
      const bool is_weights =
          path.ends_with("weights.safetensors") && std::string_view(call).find("read") == 0;
      return is_weights && ++n_reads == fail_at ? 5 : 0;  // EIO
    });
    const Error error = load_error(folder.path(), device);
    set_file_fault({});
    if (n_reads < fail_at) break;
    EXPECT_EQ(error.status(), Status::model_load_failed);
    EXPECT_EQ(error.os_code(), 5);
    EXPECT_EQ(device->memory().stats().used_bytes, 0U);
    ++n_failures;
  }
  EXPECT_GE(n_failures, 3);
}

TEST(ModelLoad, ConfigurationFaultsAreLoadFaults) {
  const Error error = edited_load_error(kV1, [](EditedModel& m) { m.config["n_head"] = -4; });
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_NE(error.message().find("n_head is -4"), std::string::npos) << error.message();
  EXPECT_EQ(error.cause()->status(), Status::config_invalid);
}

TEST(ModelLoad, HugeConfigurationsAreRefusedByTheTensorsNotByTheMachine) {
  for (const char* field : {"vocab_size", "n_layer", "sequence_len"}) {
    const Error error = edited_load_error(kV1, [&](EditedModel& m) {
      for (const char* derived :
           {"padded_vocab_size", "window_left", "ve_layers", "backout_layer", "rope_table_len"}) {
        m.config.erase(derived);
      }
      m.config[field] = field == std::string("n_layer") ? 4096 : 1 << 22;
      if (field == std::string("sequence_len")) m.config["n_layer"] = 4;
    });
    EXPECT_EQ(error.status(), Status::model_load_failed) << field;
  }
}

TEST(ModelLoad, IgnoresRotaryBuffersAndTheCopyOfATiedHead) {
  EditedModel model(model_path("stories260K"));
  model.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {DType::f32, {4}, std::string(16, '\0')};
  model.tensors["lm_head.weight"] = model.tensors.at("model.embed_tokens.weight");
  const ScratchFolder folder;
  model.write(folder);
  const std::vector<int32_t> tokens = {1, 403, 407};
  EXPECT_TRUE(
      same_bits(logits_of(load(folder.path()), tokens), logits_of(load(model_path("stories260K")), tokens)));
}

TEST(ModelLoad, StoredDtypesMayDifferFromTensorToTensor) {
  // As the reference stores them on a GPU: embeddings in bf16, everything else in fp32.
  EditedModel model(kV1);
  for (const char* name : {"transformer.wte.weight", "value_embeds.0.weight", "value_embeds.2.weight"}) {
    model.round_to(DType::bf16, name);
  }
  const ScratchFolder folder;
  model.write(folder);
  const auto mixed = load(folder.path());
  EXPECT_EQ(mixed->weights().table_dtype, DType::bf16);
  EXPECT_EQ(mixed->weights().layers[0].qkv.dtype, DType::f32);
  EXPECT_EQ(mixed->weight_dtype(), WeightDtype::f32);
  // One matrix in bf16 inside a fused one is widened, so nothing is lost.
  model.round_to(DType::bf16, "transformer.h.0.attn.c_k.weight");
  model.write(folder);
  EXPECT_EQ(load(folder.path())->weights().layers[0].qkv.dtype, DType::f32);
}

TEST(ModelLoad, InfersTheGenerationFromTheTensors) {
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6};
  for (const char* name : {"v0_gqa_4_2", "v1_chunked", "v1_ve_even_layers"}) {
    EditedModel model(golden_path(name));
    Json primary = Json::object();
    for (const char* field :
         {"sequence_len", "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd", "window_pattern"}) {
      primary[field] = model.config.at(field);
    }
    model.config = primary;
    const ScratchFolder folder;
    model.write(folder);
    EXPECT_TRUE(same_bits(logits_of(load(folder.path()), tokens), logits_of(load(golden_path(name)), tokens)))
        << name;
  }
}

TEST(ModelLoad, TheChecksumIsOfTheStoredBytes) {
  const Hash128 checksum = load(kV1, make_device("", 1))->checksum();
  EXPECT_EQ(load(kV1, make_device("", 3), {WeightDtype::bf16})->checksum(), checksum);
  EditedModel model(kV1);
  const ScratchFolder folder;
  model.write(folder);  // other order in the file
  EXPECT_EQ(load(folder.path())->checksum(), checksum);
  model.tensors["lm_head.weight"].bytes.back() ^= 1;
  model.write(folder);
  EXPECT_FALSE(load(folder.path())->checksum() == checksum);
}

}  // namespace
}  // namespace nanochat::testing
