// One component: what it gives is what PyTorch gives, and what must be true before it is warm.
#include "unit/warm/small_fleet.h"
#include "warm/validation.h"

namespace nanochat::testing {
namespace {

std::unique_ptr<const Component> load_one(const ComponentSpec& spec, const WarmConfig& config,
                                          const std::shared_ptr<Device>& device = make_device()) {
  std::atomic<uint64_t> bytes{0};
  auto component = Component::load(device, spec, config, bytes, {});
  EXPECT_EQ(bytes.load(), component->plan().file_bytes);
  return component;
}

// An entry for a directory of the test data.
struct Entry {
  ComponentSpec spec;
  WarmConfig config;

  explicit Entry(const std::string& directory, ComponentKind kind = ComponentKind::encoder) {
    spec.id = "it";
    spec.kind = kind;
    spec.path = model_path(directory);
    config.quantization = WeightDtype::f32;
  }
  std::unique_ptr<const Component> load() const { return load_one(spec, config); }
  Error load_error() const {
    return error_of([&] { load(); });
  }
  Error validation_error() const {
    const auto component = load();
    return error_of([&] { validate_component(*component, {}); });
  }
};

std::vector<int32_t> first_text(const Expected& expected, size_t index = 0) {
  const TextInput text = expected.texts()[index];
  return {text.tokens.begin(), text.tokens.end()};
}

// --- answers -----------------------------------------------------------------------------------------------

TEST(Component, GivesTheVectorsThatTransformersGives) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  for (const char* id : {"dense", "roberta", "sparse", "code", "clip", "decoder", "fusion"}) {
    const auto component = load_one(fleet.spec(id), fleet.config);
    const TestResult result = validate_component(*component, {});
    EXPECT_TRUE(result.has_reference) << id;
    EXPECT_LT(result.largest_error, std::string_view(id) == "decoder" ? 2e-4 : 2e-5) << id;
    EXPECT_GT(result.latency_us, 0) << id;
  }
}

TEST(Component, GivesColbertsTokensOneRowAfterAnother) {
  Entry entry("encoder_colbert");
  const Expected expected("colbert");
  entry.spec.test.tokens = first_text(expected, 1);  // a document as it is
  const auto component = entry.load();
  EXPECT_EQ(component->plan().form, EmbeddingForm::tokens);
  EXPECT_EQ(component->plan().dimension, 16);
  const std::vector<float> all = expected["token_vectors"];
  const size_t n = entry.spec.test.tokens.size() * 16;
  expect_near(component->run_test({}), std::span(all).last(n), 1e-5F, "a document");
  validate_component(*component, {});
}

TEST(Component, GivesTheVectorOfTheReferencesImage) {
  Entry entry("encoder_clip");
  const Expected expected("clip");
  const ScratchFolder folder;
  const std::vector<float> pixels = expected["pixels"], images = expected["image"];
  write_tensors(folder.file("image.ref"), {{"output", {images.begin(), images.begin() + 20}},
                                           {"input", {pixels.begin(), pixels.begin() + 3 * 24 * 24}}});
  entry.spec.test.reference = folder.file("image.ref");
  EXPECT_LT(validate_component(*entry.load(), {}).largest_error, 1e-5);
}

TEST(Component, EmbedsTextsWithItsPrefixAndCutsThem) {
  Entry entry("encoder_bert_mean");
  entry.spec.prefix = "query: ";
  const auto component = entry.load();
  Entry bare_entry("encoder_bert_mean");
  const auto bare = bare_entry.load();
  const std::string_view text = "a text", prefixed = "query: a text";
  EXPECT_TRUE(
      same_bits(component->embed_texts({&text, 1}, {}).values, bare->embed_texts({&prefixed, 1}, {}).values));
  const std::string endless(100'000, 'a');
  const std::string words = [] {
    std::string many;
    for (int i = 0; i < 2000; ++i) many += "of the ";
    return many;
  }();
  entry.spec.max_tokens = 9;
  const std::string_view texts[] = {words, endless, text, ""};
  const Embeddings out = entry.load()->embed_texts(texts, {});
  EXPECT_EQ(out.n_inputs(), 4U);
  EXPECT_EQ(out.n_tokens[0], 9);
  EXPECT_EQ(out.values.size(), 4U * 36);
}

TEST(Component, EmbedsNoTextsToNoVectors) {
  Entry entry("encoder_bert_mean");
  for (const ComponentKind kind :
       {ComponentKind::encoder, ComponentKind::temporal_recent, ComponentKind::hyperdimensional}) {
    entry.spec.kind = kind;
    const Embeddings none = entry.load()->embed_texts({}, {});
    EXPECT_EQ(none.n_inputs(), 0U);
    EXPECT_EQ(none.first_row.size(), 1U);
  }
}

TEST(Component, EmbedsAsItsEntrySays) {
  Entry entry("encoder_bert_mean");
  entry.spec.pooling = TextPooling::max;
  entry.spec.normalization = Normalization::none;
  const std::string_view text = "some words";
  const std::vector<float> max = entry.load()->embed_texts({&text, 1}, {}).values;
  entry.spec.pooling = TextPooling::pooler;  // has a matrix of its own
  const std::vector<float> pooler = entry.load()->embed_texts({&text, 1}, {}).values;
  EXPECT_GT(largest_difference(max, pooler), 0.01F);
  entry.spec.normalization = Normalization::unit;
  double squares = 0.0;
  for (const float value : entry.load()->embed_texts({&text, 1}, {}).values)
    squares += static_cast<double>(value) * static_cast<double>(value);
  EXPECT_NEAR(squares, 1.0, 1e-5);
  entry.spec.pooling = TextPooling::none;
  EXPECT_EQ(entry.load()->plan().form, EmbeddingForm::tokens);
}

TEST(Component, OfADecoderGivesLogitsAsItsTestAndStatesAsItsVectors) {
  const Entry entry("stories260K", ComponentKind::decoder);
  const auto component = entry.load();
  EXPECT_EQ(component->plan().dimension, component->model()->config().vocab_size);
  EXPECT_EQ(std::ssize(component->run_test({})), component->plan().dimension);
  const std::string_view text = "Once upon a time";
  EXPECT_EQ(component->embed_texts({&text, 1}, {}).width, component->model()->config().n_embd);
}

TEST(Component, ThatIsComputedHasNoWeightsAndNoAddress) {
  Entry entry("", ComponentKind::temporal_recent);
  entry.spec.path.clear();
  for (const ComponentKind kind : {ComponentKind::temporal_recent, ComponentKind::temporal_periodic,
                                   ComponentKind::temporal_positional, ComponentKind::hyperdimensional}) {
    entry.spec.kind = kind;
    const auto component = entry.load();
    EXPECT_EQ(component->address(), nullptr);
    EXPECT_EQ(component->bytes(), 0U);
    EXPECT_EQ(component->locked_bytes(), 0U);
    EXPECT_EQ(std::ssize(component->run_test({})), kind == ComponentKind::hyperdimensional ? 10'000 : 512);
    validate_component(*component, {});
  }
  const std::string_view text = "not a time";
  entry.spec.kind = ComponentKind::temporal_recent;
  EXPECT_EQ(error_of([&] { entry.load()->embed_texts({&text, 1}, {}); }).status(), Status::invalid_argument);
}

TEST(Component, GivesBitsAsZerosAndOnes) {
  Entry entry("", ComponentKind::hyperdimensional);
  entry.spec.path.clear();
  entry.spec.test.text = "trigrams";
  const std::vector<float> row = entry.load()->run_test({});
  const Hypervector bits = embed_hyperdimensional("trigrams");
  for (size_t i = 0; i < row.size(); ++i) ASSERT_EQ(row[i], bits.bit(static_cast<int64_t>(i)) ? 1.0F : 0.0F);
}

TEST(Component, TakesItsOwnAnswerForAReferenceWhenItHasAnInputAlone) {
  for (const char* name : {"encoder_bert_dense", "encoder_splade", "encoder_t5", "encoder_longformer",
                           "encoder_clip_eos", "encoder_colbert"}) {
    const TestResult result = validate_component(*Entry(name).load(), {});
    EXPECT_FALSE(result.has_reference);
  }
}

TEST(Component, HasNoTextsToEmbedWithoutATokenizerOrAsAFusion) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const std::string_view text = "x";
  for (const char* id : {"dense", "decoder", "fusion"}) {
    const auto component = load_one(fleet.spec(id), fleet.config);
    const Error error = error_of([&] { component->embed_texts({&text, 1}, {}); });
    EXPECT_EQ(error.status(), Status::unsupported) << id;
    EXPECT_NE(error.message().find(id), std::string::npos);
  }
}

TEST(Component, MakesTheProjectionsOfAFusionsParts) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto fusion = load_one(fleet.spec("fusion"), fleet.config);
  ASSERT_EQ(fusion->projections().size(), 3U);
  EXPECT_TRUE(fusion->projections()[0].is_identity());
  EXPECT_FALSE(fusion->projections()[1].is_identity());
  const FusionInput& bits = fusion->projections()[2].input();
  EXPECT_EQ(bits.id, "bits");
  EXPECT_EQ(bits.form, EmbeddingForm::bits);
  EXPECT_EQ(bits.native_dim, 10'000);
  EXPECT_EQ(bits.offset, 64);
  EXPECT_EQ(bits.fusion_dim, 19);
  EXPECT_EQ(fusion->plan().host_bytes, (131U + 10'000U) * 8);  // a word of signs for each value
}

TEST(Component, KeepsItsHashWhileItsWeightsStay) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto component = load_one(fleet.spec("dense"), fleet.config);
  const Hash128 before = component->hash_resident();
  component->run_test({});
  EXPECT_EQ(component->hash_resident(), before);
  auto* weights = static_cast<uint8_t*>(const_cast<void*>(component->address()));
  weights[component->bytes() / 2] ^= 1;
  EXPECT_NE(component->hash_resident(), before);
  weights[component->bytes() / 2] ^= 1;
  EXPECT_EQ(component->hash_resident(), before);
}

TEST(Component, LocksItsWeightsIfItIsToldTo) {
  const SmallFleet files;
  PlannedFleet fleet = files.plan();
  EXPECT_EQ(load_one(fleet.spec("dense"), fleet.config)->locked_bytes(), 0U);
  fleet.config.lock_memory = true;
  const auto component = load_one(fleet.spec("dense"), fleet.config);
  EXPECT_TRUE(component->locked_bytes() == 0 || component->locked_bytes() == component->bytes());
}

// --- what is refused ---------------------------------------------------------------------------------------

TEST(Component, OfAnotherKindThanItsDirectoryIsRefused) {
  for (const auto& [directory, kind] :
       {std::pair("hf_nanochat", ComponentKind::encoder), std::pair("fuse_moe_small", ComponentKind::encoder),
        std::pair("encoder_bert_mean", ComponentKind::decoder),
        std::pair("fuse_moe_small", ComponentKind::decoder),
        std::pair("encoder_bert_mean", ComponentKind::fusion)}) {
    const Entry entry(directory, kind);
    const Error error = error_of([&] { Component::plan(entry.spec, entry.config); });
    EXPECT_EQ(error.status(), Status::model_load_failed) << directory;
    EXPECT_EQ(field_of(error, "model_id"), "it");
    EXPECT_NE(error.message().find(component_kind_name(kind)), std::string::npos) << error.message();
  }
}

TEST(Component, WithoutADirectoryIsMissing) {
  for (const ComponentKind kind : {ComponentKind::encoder, ComponentKind::decoder, ComponentKind::fusion}) {
    const Entry entry("no_such_model", kind);
    const Error error = error_of([&] { Component::plan(entry.spec, entry.config); });
    EXPECT_EQ(error.status(), Status::model_file_missing);
    EXPECT_EQ(field_of(error, "model_id"), "it");
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Component, OfAnotherWidthIsRefusedWithBothNumbers) {
  for (const auto& [directory, kind, width] : {std::tuple("encoder_bert_dense", ComponentKind::encoder, 24),
                                               std::tuple("encoder_splade", ComponentKind::encoder, 131),
                                               std::tuple("encoder_clip", ComponentKind::encoder, 20),
                                               std::tuple("hf_nanochat", ComponentKind::decoder, 101)}) {
    Entry entry(directory, kind);
    entry.spec.dimension = width;
    EXPECT_EQ(Component::plan(entry.spec, entry.config).dimension, width);
    entry.spec.dimension = width + 1;
    const Error error = entry.load_error();
    EXPECT_EQ(error.status(), Status::model_dimension_mismatch);
    EXPECT_EQ(error.message(),
              format_text("Model dimension mismatch for it: expected {}, got {}", width + 1, width));
    EXPECT_EQ(field_of(error, "expected"), std::to_string(width + 1));
    EXPECT_EQ(field_of(error, "actual"), std::to_string(width));
  }
}

TEST(Component, WithOptionsThatItsModelHasNothingForIsRefused) {
  const auto refused = [](const std::string& directory, ComponentKind kind, const auto& change) {
    Entry entry(directory, kind);
    change(entry.spec);
    return error_of([&] { Component::plan(entry.spec, entry.config); }).status() == Status::config_invalid;
  };
  EXPECT_TRUE(refused("encoder_splade", ComponentKind::encoder,
                      [](ComponentSpec& spec) { spec.pooling = TextPooling::mean; }));
  EXPECT_TRUE(refused("encoder_splade", ComponentKind::encoder,
                      [](ComponentSpec& spec) { spec.normalization = Normalization::unit; }));
  EXPECT_TRUE(refused("encoder_bert_mean", ComponentKind::encoder,
                      [](ComponentSpec& spec) { spec.role = TextRole::query; }));
  EXPECT_TRUE(refused("encoder_bert_mean", ComponentKind::encoder,
                      [](ComponentSpec& spec) { spec.max_tokens = 1'000'000; }));
  EXPECT_TRUE(refused("hf_nanochat", ComponentKind::decoder,
                      [](ComponentSpec& spec) { spec.pooling = TextPooling::cls; }));
  EXPECT_TRUE(refused("hf_nanochat", ComponentKind::decoder,
                      [](ComponentSpec& spec) { spec.max_tokens = 1'000'000; }));
}

TEST(Component, WhoseFusionIsAnotherWidthThanItsPartsIsRefused) {
  SmallFleet files;
  component_of(files.manifest(), "fusion")["inputs"][0]["width"] = 25;
  files.save();
  const Error error = error_of([&] { files.plan(); });
  EXPECT_EQ(error.status(), Status::config_invalid);
  EXPECT_EQ(error.message(),
            "component 'fusion': its inputs are 84 values wide together, the layer takes 83");
}

TEST(Component, WhoseFusionTakesADecoderIsRefused) {
  SmallFleet files;
  component_of(files.manifest(), "fusion")["inputs"][0]["component"] = "decoder";
  files.save();
  const Error error = error_of([&] { files.plan(); });
  EXPECT_EQ(error.status(), Status::config_invalid);
  EXPECT_NE(error.message().find("'decoder' is of kind decoder"), std::string::npos) << error.message();
}

TEST(Component, TakesATrainedProjectionFromAFile) {
  SmallFleet files;
  std::vector<TensorInfo> infos(1);
  infos[0].name = "weight";
  infos[0].shape = {40, 131};
  {
    SafetensorsWriter writer(files.file("trained.safetensors"), infos);
    const std::vector<float> weights(40 * 131, 0.5F);
    writer.write(std::as_bytes(std::span(weights)));
    writer.commit();
  }
  component_of(files.manifest(), "fusion")["inputs"][1]["projection"] = "trained.safetensors";
  files.save();
  const PlannedFleet fleet = files.plan();
  const auto fusion = load_one(fleet.spec("fusion"), fleet.config);
  EXPECT_TRUE(fusion->projections()[1].is_trained());
  std::filesystem::remove(files.file("trained.safetensors"));
  const Error error = error_of([&] { files.plan(); });
  EXPECT_EQ(error.status(), Status::model_file_missing);
  EXPECT_EQ(field_of(error, "path"), files.file("trained.safetensors"));
}

// --- validation --------------------------------------------------------------------------------------------

TEST(Validation, RefusesATestThatCannotBeRun) {
  Entry entry("encoder_bert_dense");
  entry.spec.test.tokens = {1, 2, 1'000'000};
  Error error = entry.validation_error();
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  ASSERT_NE(error.cause(), nullptr);
  EXPECT_EQ(error.cause()->status(), Status::out_of_range);
  entry.spec.test.tokens.clear();
  entry.spec.test.text = "a text, but no tokenizer";
  error = entry.validation_error();
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_TRUE(error.message().starts_with("Model validation failed for it: the test inference failed: "));
}

TEST(Validation, RefusesWhatTakesLongerThanItMay) {
  Entry entry("encoder_bert_dense");
  entry.spec.test.max_ms = 0;
  const Error error = entry.validation_error();
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_EQ(field_of(error, "max_ms"), "0");
  EXPECT_NE(error.message().find("the test inference took"), std::string::npos);
}

TEST(Validation, ComparesEveryElementWithinTheTolerance) {
  Entry entry("encoder_bert_dense");
  const Expected expected("bert_dense");
  entry.spec.test.tokens = first_text(expected);
  const std::vector<float> all = expected["sentence"];
  std::vector<float> answer(all.begin(), all.begin() + 24);
  const ScratchFolder folder;
  entry.spec.test.reference = folder.file("ref");
  for (const size_t where : {size_t{0}, size_t{23}}) {
    std::vector<float> off = answer;
    off[where] += 2e-3F;
    write_tensors(folder.file("ref"), {{"output", off}});
    entry.spec.test.tolerance = 1e-3;
    const Error error = entry.validation_error();
    EXPECT_EQ(error.status(), Status::model_validation_failed);
    EXPECT_EQ(field_of(error, "index"), std::to_string(where));
    entry.spec.test.tolerance = 3e-3;
    EXPECT_NEAR(validate_component(*entry.load(), {}).largest_error, 2e-3, 1e-5);
  }
}

TEST(Validation, RefusesAReferenceFileThatIsDamaged) {
  Entry entry("encoder_bert_dense");
  const ScratchFolder folder;
  entry.spec.test.reference = folder.write("ref", "this is no safetensors file, but long enough for one");
  EXPECT_EQ(entry.load_error().status(), Status::model_load_failed);
  write_tensors(folder.file("ref"), {{"outputs", {1.0F}}});
  EXPECT_EQ(entry.load_error().status(), Status::model_load_failed);
  write_tensors(folder.file("ref"), {{"output", {1.0F, std::numeric_limits<float>::quiet_NaN()}}});
  const Error error = entry.load_error();
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_EQ(field_of(error, "tensor"), "output");
  EXPECT_EQ(field_of(error, "index"), "1");
  write_tensors(folder.file("ref"), {{"output", {1.0F}}, {"input", {1.0F}}});
  EXPECT_EQ(entry.load_error().status(), Status::model_validation_failed);  // a text encoder takes none
}

TEST(Validation, IsCancelledBetweenLayers) {
  const auto component = Entry("encoder_bert_dense").load();
  CancelToken cancel;
  cancel.request();
  EXPECT_EQ(error_of([&] { validate_component(*component, {&cancel, {}}); }).status(), Status::cancelled);
}

}  // namespace
}  // namespace nanochat::testing
