// What holds for every family: bits that depend on nothing but the text, bounds of the narrow weights,
// refusals.
#include <algorithm>
#include <cstdlib>

#include "memory/callback_memory.h"
#include "unit/encoder/encoder_fixture.h"

namespace nanochat::testing {
namespace {

std::vector<float> answers_of(const Encoder& encoder, std::span<const TextInput> texts) {
  return encoder.config().head == EncoderHead::sparse ? encode_dense_sparse(encoder, texts)
                                                      : encode(encoder, texts);
}

class EveryEncoder : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override { NANOCHAT_SKIP_WITHOUT_A_GPU(on()); }
  static const std::string& name() { return std::get<0>(GetParam()); }
  static const std::string& on() { return std::get<1>(GetParam()); }
  static std::shared_ptr<const Encoder> load(WeightDtype dtype = WeightDtype::as_stored) {
    return load_encoder(name(), device_for_test(on()), {dtype});
  }
};
class EncoderOnThreads : public EveryEncoder {};

TEST_P(EveryEncoder, GivesTheSameBitsWhateverRunsBesideAText) {
  const Expected expected(name());
  const std::vector<TextInput> texts = expected.texts();
  using enum WeightDtype;
  for (const WeightDtype dtype : sizes<WeightDtype>(on(), {f32, bf16, i8, f8}, {f32, bf16})) {
    const auto encoder = load(dtype);
    const std::vector<float> together = answers_of(*encoder, texts);
    std::vector<float> alone;
    for (const TextInput& text : texts) {
      const std::vector<float> own = answers_of(*encoder, {&text, 1});
      alone.insert(alone.end(), own.begin(), own.end());
    }
    EXPECT_TRUE(same_bits(together, alone)) << static_cast<int>(dtype);
  }
}

TEST_P(EncoderOnThreads, GivesTheSameBitsInLongBatchesAndForAnyNumberOfThreads) {
  const Expected expected(name());
  const std::vector<TextInput> texts = expected.texts();
  std::vector<TextInput> many;  // several passes, the texts at other places of each
  while (count_rows(many, true) < 3000) many.insert(many.end(), texts.rbegin(), texts.rend());
  const std::vector<float> one = answers_of(*load_encoder(name(), make_device("", 1)), many);
  const std::vector<float> four = answers_of(*load_encoder(name(), make_device("", 4)), many);
  EXPECT_TRUE(same_bits(one, four));
  std::vector<TextInput> first(texts.rbegin(), texts.rend());
  const std::vector<float> few = answers_of(*load_encoder(name()), first);
  ASSERT_EQ(one.size() % few.size(), 0U);
  for (size_t i = 0; i < one.size(); i += few.size())
    ASSERT_TRUE(same_bits(std::span(one).subspan(i, few.size()), few)) << i;
}

// The worst text of tiny networks, whose errors have no width to even out over.
TEST_P(EveryEncoder, StaysCloseWithNarrowWeights) {
  const Expected expected(name());
  const std::vector<TextInput> texts = expected.texts();
  const auto exact = load_encoder(name(), make_device(), {WeightDtype::f32});
  const auto width = static_cast<size_t>(text_width(*exact, {}));
  const std::vector<float> exact_answers = answers_of(*exact, texts);
  const std::pair<WeightDtype, double> bounds[] = {
      {WeightDtype::bf16, 0.9995}, {WeightDtype::i8, 0.9975}, {WeightDtype::f8, 0.98}};
  for (const auto& [dtype, bound] : bounds) {
    const auto encoder = load(dtype);
    EXPECT_EQ(encoder->weight_dtype(), dtype);
    EXPECT_GE(smallest_cosine(answers_of(*encoder, texts), exact_answers, width), bound)
        << static_cast<int>(dtype);
  }
}

TEST_P(EveryEncoder, TakesExactlyWhatThePlanSays) {
  const Expected expected(name());
  for (const WeightDtype dtype :
       {WeightDtype::as_stored, WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const EncoderPlan plan = Encoder::plan(encoder_path(name()), {dtype});
    const auto device = device_for_test(on());
    device->memory().reclaim();
    const MemoryStats before = device->memory().stats();
    {
      const auto encoder = load_encoder(name(), device, {dtype});
      EXPECT_EQ(device->memory().stats().model_bytes - before.model_bytes, plan.weight_bytes);
      EXPECT_EQ(device->memory().stats().working_bytes, before.working_bytes);
      EXPECT_EQ(encoder->plan().weight_bytes, plan.weight_bytes);
      EXPECT_EQ(encoder->plan().file_bytes, plan.file_bytes);
      if (!is_cuda(on())) {  // whose kernels have working memory of their own
        answers_of(*encoder, expected.texts());
        device->memory().reclaim();
        EXPECT_LE(device->memory().stats().high_water_bytes, plan.weight_bytes + plan.working_bytes);
      }
    }
    EXPECT_EQ(device->memory().stats().used_bytes, before.used_bytes);
  }
}

TEST_P(EveryEncoder, HasAChecksumOfWhatIsStored) {
  const auto other = load_encoder(name(), make_device("reference", 1), {WeightDtype::bf16});
  EXPECT_EQ(load()->checksum(), other->checksum());
}

std::string name_of(const std::string& name) { return name; }
// The readable loops beside the fastest ones.
NANOCHAT_EACH_ON(Reference, EveryEncoder, encoder_cases(), name_of, std::vector<std::string>{"reference"});
NANOCHAT_EACH_ON_EVERY_KIND_OF_DEVICE(EveryEncoder, encoder_cases(), name_of);
NANOCHAT_EACH_ON(Cpu, EncoderOnThreads, encoder_cases(), name_of, std::vector<std::string>{std::string()});

// --- images ------------------------------------------------------------------------------------------------

class ImageEncoder : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(ImageEncoder);

TEST_P(ImageEncoder, GivesTheSameBitsWhateverRunsBesideAnImage) {
  const std::vector<float> pixels = Expected("clip")["pixels"];
  const auto encoder = load_encoder("clip", device_);
  const std::vector<float> together = encode_pictures(*encoder, pixels, 2);
  std::vector<float> many, expected;
  const int64_t n = size(150, 3);  // more than one pass, in time
  for (int64_t i = 0; i < n; ++i) {
    many.insert(many.end(), pixels.begin(), pixels.end());
    expected.insert(expected.end(), together.begin(), together.end());
  }
  EXPECT_TRUE(same_bits(encode_pictures(*encoder, many, 2 * n), expected));
}

TEST_P(ImageEncoder, StaysCloseWithNarrowWeights) {
  const std::vector<float> pixels = Expected("clip")["pixels"];
  const std::vector<float> exact = encode_pictures(*load_encoder("clip"), pixels, 2);
  for (const WeightDtype dtype : {WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const auto encoder = load_encoder("clip", device_, {dtype});
    EXPECT_GE(smallest_cosine(encode_pictures(*encoder, pixels, 2), exact, 20), 0.998)
        << static_cast<int>(dtype);
  }
}

template <class F>
Error error_of(const F& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(Status::ok);
}

TEST_P(ImageEncoder, RefusesImagesOfAnotherSizeAndValuesThatAreNotFinite) {
  const auto encoder = load_encoder("clip");
  std::vector<float> output(20);
  const auto encode_one = [&](std::span<const float> pixels) {
    return error_of([&] { encode_images(*encoder, {&pixels, 1}, Normalization::none, output.data(), {}); });
  };
  std::vector<float> pixels(3 * 24 * 24, 0.5F);
  EXPECT_EQ(encode_one(pixels).status(), Status::ok);
  pixels[77] = std::nanf("");
  EXPECT_EQ(encode_one(pixels).message(), "image 0: value 77 is nan, expected a finite number");
  pixels.pop_back();
  EXPECT_EQ(encode_one(pixels).message(), "image 0 has 1727 values, expected 1728: 3 channels of 24 x 24");
  EXPECT_EQ(error_of([&] { image_width(*load_encoder("roberta")); }).status(), Status::unsupported);
}

// --- texts that are refused --------------------------------------------------------------------------------

class RefusedText : public ::testing::Test {
 protected:
  Error encode_error(std::vector<int32_t> tokens, std::vector<int32_t> types = {}, int64_t n_attended = 0,
                     const VectorOptions& options = {}) {
    const std::vector<int32_t> fine{1, 2, 3};
    const TextInput texts[] = {{fine}, {tokens, types, n_attended}};
    std::vector<float> output(1 << 16);
    return error_of([&] { encode_texts(*encoder_, texts, options, output.data(), {}); });
  }
  std::shared_ptr<const Encoder> encoder_ = load_encoder("bert_mean");
};

TEST_F(RefusedText, NamesTheTokenAndTheVocabulary) {
  const Error error = encode_error({5, 101});
  EXPECT_EQ(error.status(), Status::out_of_range);
  EXPECT_EQ(error.message(), "text 1: token 1 is 101, expected 0 to 100");
  EXPECT_EQ(encode_error({-1}).message(), "text 1: token 0 is -1, expected 0 to 100");
  EXPECT_EQ(encode_error({1, 2}, {0, 2}).message(), "text 1: token type 1 is 2, expected 0 to 1");
}

TEST_F(RefusedText, NamesTheLengthAndTheMaximum) {
  const Error error = encode_error(std::vector<int32_t>(161, 7));
  EXPECT_EQ(error.status(), Status::out_of_range);
  EXPECT_EQ(error.message(), "text 1 has 161 tokens, the model takes 160 at most");
  EXPECT_EQ(encode_error(std::vector<int32_t>(160, 7)).status(), Status::ok);
}

TEST_F(RefusedText, IsEmptyOrContradictsItself) {
  EXPECT_EQ(encode_error({}).message(), "text 1 has no tokens, expected one at least");
  EXPECT_EQ(encode_error({1, 2}, {0}).message(), "text 1 has 1 token types for 2 tokens");
  EXPECT_EQ(encode_error({1, 2}, {}, 3).message(), "text 1 has 3 attended tokens of 2");
  EXPECT_EQ(encode_error({1, 2}, {}, -1).status(), Status::invalid_argument);
}

TEST_F(RefusedText, AsksForWhatTheModelDoesNotHave) {
  EXPECT_EQ(encode_error({1}, {}, 0, {TextPooling::pooler}).status(), Status::invalid_argument);
  const std::vector<int32_t> tokens{1};
  const TextInput text{tokens};
  EXPECT_EQ(error_of([&] { encode_sparse(*encoder_, {&text, 1}, {}); }).status(), Status::unsupported);
  std::vector<float> output(200);
  const auto splade = load_encoder("splade");
  EXPECT_EQ(error_of([&] {
              encode_texts(*splade, {&text, 1}, {}, output.data(), {});
            }).status(),
            Status::unsupported);
  EXPECT_EQ(error_of([&] {
              load_encoder("t5", make_device(), {WeightDtype::f32, PoolerWeights::present});
            }).status(),
            Status::model_load_failed);
}

TEST(EncodeTexts, OfNoTextsGivesNothing) {
  const auto encoder = load_encoder("bert_mean");
  EXPECT_NO_THROW(encode_texts(*encoder, {}, {}, nullptr, {}));
  EXPECT_TRUE(encode_sparse(*load_encoder("splade"), {}, {}).empty());
}

// --- watching and stopping ---------------------------------------------------------------------------------

TEST(EncodeTexts, StopsWhenItIsCancelledAndReportsItsPasses) {
  const auto encoder = load_encoder("bert_mean");
  const std::vector<int32_t> tokens(100, 5);
  const std::vector<TextInput> texts(40, TextInput{tokens});
  std::vector<float> output(40 * 36);
  CancelToken cancel;
  std::vector<uint64_t> done;
  Watch watch{&cancel, [&](const Progress& progress) {
                done.push_back(progress.done);
                EXPECT_EQ(progress.total, 4U);
                return true;
              }};
  encode_texts(*encoder, texts, {}, output.data(), watch);
  EXPECT_EQ(done, (std::vector<uint64_t>{1, 2, 3}));
  watch.on_progress = [](const Progress&) { return false; };
  EXPECT_EQ(error_of([&] { encode_texts(*encoder, texts, {}, output.data(), watch); }).status(),
            Status::cancelled);
  cancel.request();
  EXPECT_EQ(error_of([&] { encode_texts(*encoder, texts, {}, output.data(), watch); }).status(),
            Status::cancelled);
  EXPECT_EQ(encoder->device().memory().stats().working_bytes, 0U);
}

TEST(EncodeTexts, FailsCleanlyWhenAnyAllocationFails) {
  struct Failing {
    int count = 0, at = 0;  // fails from the at-th on
  } failing;
  MemoryCallbacks callbacks;
  callbacks.user_data = &failing;
  callbacks.allocate = [](size_t bytes, size_t alignment, void* user) -> void* {
    auto& state = *static_cast<Failing*>(user);
    if (state.count++ >= state.at) return nullptr;
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  callbacks.free = [](void* pointer, size_t, size_t, void*) { std::free(pointer); };
  const auto device = make_device("", 1, 0, std::make_shared<CallbackMemory>(callbacks));
  const Expected expected("bert_mean");
  for (int at = 0;; ++at) {
    failing = {0, at};
    const Error error = error_of([&] {
      const auto encoder = load_encoder("bert_mean", device);
      encode(*encoder, expected.texts());
    });
    device->memory().reclaim();
    EXPECT_EQ(device->memory().stats().used_bytes, 0U);
    if (error.status() == Status::ok) {
      EXPECT_GE(at, 2);
      break;
    }
    EXPECT_TRUE(error.status() == Status::out_of_memory || error.status() == Status::working_memory_exhausted)
        << error.message();
  }
}

// --- random models -----------------------------------------------------------------------------------------

TEST(RandomEncoder, ComesInTheShapesOfKnownModels) {
  for (const char* name : {"minilm-l6", "bert-base", "e5-large", "splade-base", "colbert-base",
                           "longformer-base", "codet5p-110m", "clip-vit-l14"}) {
    EncoderConfig config = encoder_shape(name);
    EXPECT_NO_THROW(check_encoder_config(config, name));
    for (auto* tower : {&config.text, &config.vision}) {  // the same switches, small
      if (!*tower) continue;
      TowerConfig& one = **tower;
      one.n_layer = 2;
      one.n_head = 2;
      one.head_dim = 8;
      one.n_embd = 16;
      one.mlp_hidden = 24;
      if (one.vocab_size > 0) one.vocab_size = 50;
      if (!one.window.empty()) one.window = {4, 6};
      if (one.image_size > 0) {
        one.image_size = 28;
        one.max_rows = one.n_positions = 5;
      }
    }
    const auto encoder = Encoder::create_random(make_device(), config, 7, {}, {});
    const std::vector<int32_t> tokens{3, 1, 4, 1, 5, 9};
    const TextInput text{tokens};
    const std::vector<float> answer = answers_of(*encoder, {&text, 1});
    EXPECT_TRUE(std::all_of(answer.begin(), answer.end(), [](float x) { return std::isfinite(x); })) << name;
    const auto again = Encoder::create_random(make_device("", 1), config, 7, {}, {});
    EXPECT_TRUE(same_bits(answer, answers_of(*again, {&text, 1}))) << name;
    const auto other = Encoder::create_random(make_device(), config, 8, {}, {});
    EXPECT_FALSE(same_bits(answer, answers_of(*other, {&text, 1}))) << name;
  }
  EXPECT_EQ(error_of([] { encoder_shape("gpt-2"); }).status(), Status::invalid_argument);
}

}  // namespace
}  // namespace nanochat::testing
