// Embeddings of a decoder against transformers' hidden states, and their independence of each other.
#include "infer/embed.h"

#include <cmath>
#include <cstring>

#include "io/safetensors.h"
#include "unit/infer/small_models.h"

namespace nanochat::testing {
namespace {

const std::string kLlama = NANOCHAT_TEST_DATA "/models/hf_llama_gqa_sharded";
const std::string kNanochat = NANOCHAT_TEST_DATA "/models/hf_nanochat";

template <class T>
std::vector<T> values_of(const SafetensorsFile& file, const std::string& name) {
  const auto bytes = file.file().bytes().subspan(file.find(name)->offset, file.find(name)->n_bytes);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

struct Expected {
  std::vector<int32_t> tokens;
  std::vector<float> states;  // [tokens, width]
};

Expected expected_of(const std::string& path) {
  const SafetensorsFile file(path + "/expected.safetensors");
  const auto ids = values_of<int64_t>(file, "tokens");
  return {{ids.begin(), ids.end()}, values_of<float>(file, "states_float64")};
}

EmbedOptions plain(Pooling pooling) {
  EmbedOptions options;
  options.pooling = pooling;
  options.is_unit = false;
  return options;
}

void expect_close(std::span<const float> got, std::span<const float> expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 5e-5F) << i;
}

class EmbedOn : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(EmbedOn);

TEST_P(EmbedOn, WithoutPoolingGivesTheHiddenStatesOfTransformers) {
  for (const std::string& path : {kLlama, kNanochat}) {
    const Expected expected = expected_of(path);
    const Embeddings got = embed(Host(GetParam()).load(path), {{expected.tokens}}, plain(Pooling::none), {});
    EXPECT_EQ(got.first_row, (std::vector<int64_t>{0, std::ssize(expected.tokens)}));
    expect_close(got.values, expected.states);
  }
}

TEST(Embed, PoolsByMeanAndByLastToken) {
  const Expected expected = expected_of(kLlama);
  const auto model = Host().load(kLlama);
  const auto width = static_cast<size_t>(model->config().n_embd);
  const auto n = expected.tokens.size();
  std::vector<float> mean(width);
  for (size_t i = 0; i < width; ++i) {
    double sum = 0;
    for (size_t row = 0; row < n; ++row) sum += expected.states[row * width + i];
    mean[i] = static_cast<float>(sum / static_cast<double>(n));
  }
  expect_close(embed(model, {{expected.tokens}}, plain(Pooling::mean), {}).values, mean);
  expect_close(embed(model, {{expected.tokens}}, plain(Pooling::last), {}).values,
               std::span(expected.states).last(width));
}

TEST(Embed, NormalizesEachRowToLengthOne) {
  const auto model = Host().load(kStories);
  EmbedOptions options;
  options.pooling = Pooling::none;
  const std::vector<std::vector<int32_t>> inputs = {some_tokens(*model, 20), some_tokens(*model, 7, 2)};
  const Embeddings unit = embed(model, inputs, options, {});
  const Embeddings raw = embed(model, inputs, plain(Pooling::none), {});
  for (int64_t row = 0; row < unit.first_row.back(); ++row) {
    double squares = 0;
    double product = 0;
    double raw_squares = 0;
    for (int64_t i = row * unit.width; i < (row + 1) * unit.width; ++i) {
      const auto at = static_cast<size_t>(i);
      squares += static_cast<double>(unit.values[at]) * unit.values[at];
      product += static_cast<double>(unit.values[at]) * raw.values[at];
      raw_squares += static_cast<double>(raw.values[at]) * raw.values[at];
    }
    EXPECT_NEAR(squares, 1.0, 1e-6);
    EXPECT_NEAR(product, std::sqrt(raw_squares), 1e-4);
  }
}

// 30 inputs of 1 to 300 tokens go through passes of up to 512 rows together.
TEST_P(EmbedOn, GivesTheSameBitsWhateverElseIsEmbedded) {
  for (const int n_threads : is_cuda(GetParam()) ? std::vector<int>{1} : std::vector<int>{1, 3}) {
    const auto model = Host(GetParam(), n_threads).load(kStories);
    for (const Pooling pooling : {Pooling::mean, Pooling::last, Pooling::none}) {
      EmbedOptions options;
      options.pooling = pooling;
      std::vector<std::vector<int32_t>> inputs;
      const auto n = static_cast<size_t>(size(30, 6)), longest = static_cast<size_t>(size(300, 40));
      for (size_t i = 0; i < n; ++i) inputs.push_back(some_tokens(*model, 1 + i * i * i % longest, i));
      const Embeddings together = embed(model, inputs, options, {});
      for (size_t i = 0; i < inputs.size(); ++i) {
        const Embeddings alone = embed(model, {&inputs[i], 1}, options, {});
        const auto first = static_cast<size_t>(together.first_row[i] * together.width);
        ASSERT_EQ(std::memcmp(together.values.data() + first, alone.values.data(),
                              alone.values.size() * sizeof(float)),
                  0)
            << "input " << i;
        ASSERT_EQ(together.n_tokens[i], std::ssize(inputs[i]));
      }
    }
  }
}

TEST(Embed, RefusesWhatItCannotEmbedNamingTheInput) {
  const auto model = Host().load(kStories);
  const auto message = [&](const std::vector<std::vector<int32_t>>& inputs, Status status) {
    try {
      embed(model, inputs, {}, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status);
      return error.message();
    }
    return std::string("nothing was refused");
  };
  EXPECT_EQ(message({{1}, {}}, Status::invalid_argument), "input 1 has no tokens, expected one at least");
  EXPECT_EQ(message({{1, 512}}, Status::out_of_range), "input 0: token 1 is 512, expected 0 to 511");
  const auto too_long = some_tokens(*model, 513);
  EXPECT_EQ(message({{1}, {2}, too_long}, Status::context_full),
            "input 2 has 513 tokens, the model takes 512");

  EmbedOptions truncating;
  truncating.truncate = true;
  const std::vector<int32_t> cut(too_long.begin(), too_long.end() - 1);
  const Embeddings shortened = embed(model, {{too_long}}, truncating, {});
  EXPECT_EQ(shortened.n_tokens, std::vector<int64_t>{512});
  EXPECT_EQ(shortened.values, embed(model, {{cut}}, {}, {}).values);
}

TEST(Embed, OfNothingIsNothing) {
  const auto model = Host().load(kStories);
  const Embeddings none = embed(model, {}, {}, {});
  EXPECT_EQ(none.width, 64);
  EXPECT_TRUE(none.values.empty());
}

TEST(Embed, CanBeStoppedBetweenInputs) {
  const auto model = Host().load(kStories);
  Watch watch;
  watch.on_progress = [](const Progress& at) { return at.done < 2; };
  const std::vector<std::vector<int32_t>> inputs(5, some_tokens(*model, 400));
  EXPECT_EQ(status_of([&] { embed(model, inputs, {}, watch); }), Status::cancelled);
}

}  // namespace
}  // namespace nanochat::testing
