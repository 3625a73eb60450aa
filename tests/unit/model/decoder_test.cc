// The law of the forward pass: the same bits whatever is batched, cut, threaded or cached; and what it
// refuses.
#include <algorithm>
#include <numeric>
#include <tuple>

#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

using Tokens = std::vector<int32_t>;

// A small model with every switch of generation V1, a window shorter than the texts and an odd vocabulary.
ModelConfig small_v1() {
  ModelConfig config = nanochat_shape("v1-d2");
  config.sequence_len = 200;
  config.vocab_size = 75;
  config.padded_vocab_size = 128;
  config.n_layer = 3;
  config.n_head = 4;
  config.n_kv_head = 2;
  config.n_embd = 72;
  config.head_dim = 18;
  config.mlp_hidden = 288;
  config.window_left = {128, 200, 16};
  config.ve_layers = {0, 2};
  config.backout_layer = 1;
  return config;
}

ModelConfig small_llama() {
  ModelConfig config = small_v1();
  config.format = ModelFormat::hf_llama;
  config.architecture = "llama";
  config.sequence_len = 2000;
  config.padded_vocab_size = config.vocab_size;
  config.rope_rotation_sign = 1;
  config.norm_weight = NormWeight::present;
  config.embedding_norm = EmbeddingNorm::none;
  config.qk_norm = QkNorm::none;
  config.activation = Activation::swiglu;
  config.logit_softcap = 0.0F;
  config.lm_head = LmHead::tied;
  config.window_left = {-1, -1, -1};
  config.ve_layers.clear();
  config.ve_gate_channels = config.smear_channels = 0;
  config.backout_layer = -1;
  config.has_residual_scalars = false;
  return config;
}

Tokens some_tokens(size_t n, uint32_t seed = 1) {
  Tokens tokens(n);
  for (size_t i = 0; i < n; ++i)
    tokens[i] = static_cast<int32_t>((i * 7919 + seed * 104729 + i * i * seed) % 75);
  return tokens;
}

std::vector<float> feed_in_pieces(const std::shared_ptr<const Model>& model, const Tokens& tokens,
                                  size_t piece) {
  KvCache cache(model, std::ssize(tokens));
  std::vector<float> all;
  for (size_t first = 0; first < tokens.size(); first += piece) {
    const size_t n = std::min(piece, tokens.size() - first);
    const std::vector<float> logits = feed(cache, std::span(tokens).subspan(first, n));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

struct Kind {
  const char* name;
  ModelConfig (*config)();
  WeightDtype dtype;
};

class DecoderLaw : public ::testing::TestWithParam<std::tuple<Kind, std::string>> {
 protected:
  void SetUp() override { NANOCHAT_SKIP_WITHOUT_A_GPU(on()); }
  const std::string& on() const { return std::get<1>(GetParam()); }
  std::shared_ptr<const Model> model_on(std::shared_ptr<Device> device) {
    const Kind& kind = std::get<0>(GetParam());
    return Model::create_random(std::move(device), kind.config(), 42, {kind.dtype}, {});
  }
  std::shared_ptr<const Model> model() { return model_on(device_for_test(on())); }
};
class DecoderOnThreads : public DecoderLaw {};

TEST_P(DecoderLaw, PiecesOfAnySizeGiveTheSameBits) {
  const auto one = model();
  const Tokens tokens = some_tokens(static_cast<size_t>(size(on(), kForwardRows + 30, 75)));
  const std::vector<float> whole = feed_in_pieces(one, tokens, tokens.size());
  for (const int64_t piece : sizes<int64_t>(on(), {1, 7, 64, 513}, {1, 7, 64})) {
    EXPECT_TRUE(same_bits(feed_in_pieces(one, tokens, static_cast<size_t>(piece)), whole))
        << "pieces of " << piece;
  }
}

TEST_P(DecoderOnThreads, AnyNumberOfThreadsGivesTheSameBits) {
  const Tokens tokens = some_tokens(150);
  const auto single = model_on(make_device(on(), 1));
  const std::vector<float> expected = feed_in_pieces(single, tokens, 150);
  for (const int n_threads : {2, 3}) {
    const auto other = model_on(make_device(on(), n_threads));
    EXPECT_EQ(other->checksum(), single->checksum());
    EXPECT_TRUE(same_bits(feed_in_pieces(other, tokens, 150), expected)) << n_threads << " threads";
  }
}

TEST_P(DecoderLaw, NeighboursInABatchChangeNoBit) {
  const auto shared = model();
  const std::vector<size_t> lengths = sizes<size_t>(on(), {1, 300, 2, 90, 250}, {1, 70, 2, 30, 66});
  std::vector<Tokens> texts;
  std::vector<std::vector<float>> alone;
  for (size_t i = 0; i < lengths.size(); ++i) {
    texts.push_back(some_tokens(lengths[i], static_cast<uint32_t>(i + 2)));
    alone.push_back(logits_of(shared, texts.back()));
  }
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (int64_t round = 0; round < size(on(), 4, 2); ++round) {
    std::vector<KvCache> caches;
    for (size_t i = 0; i < order.size(); ++i) caches.emplace_back(shared, 400 + 10 * round);
    std::vector<SequenceInput> inputs;
    size_t n_rows = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      inputs.push_back({&caches[i], texts[order[i]], LogitRows::all});
      n_rows += texts[order[i]].size();
    }
    std::vector<float> logits(n_rows * 75);
    forward(*shared, inputs, logits.data(), {});
    const float* row = logits.data();
    for (const size_t i : order) {
      EXPECT_TRUE(same_bits({row, alone[i].size()}, alone[i])) << "sequence " << i << ", round " << round;
      row += alone[i].size();
    }
    std::next_permutation(order.begin(), order.end());
    std::rotate(order.begin(), order.begin() + 1, order.end());
  }
}

TEST_P(DecoderLaw, TheLastRowIsTheSameWithOrWithoutTheOthers) {
  const auto one = model();
  const Tokens tokens = some_tokens(70);
  const std::vector<float> all = logits_of(one, tokens);
  KvCache cache(one, 70);
  const std::vector<float> last = feed(cache, tokens, LogitRows::last);
  EXPECT_TRUE(same_bits(last, std::span(all).last(75)));
}

TEST_P(DecoderLaw, TracingChangesNoBit) {
  const auto one = model();
  const Tokens tokens = some_tokens(40);
  KvCache cache(one, 40);
  std::vector<float> traced(40 * 75);
  const SequenceInput input{&cache, tokens, LogitRows::all};
  int64_t n_calls = 0;
  forward(*one, {&input, 1}, traced.data(), {}, [&](auto&&...) { ++n_calls; });
  EXPECT_EQ(n_calls, 4 * 3 + 1);
  EXPECT_TRUE(same_bits(traced, logits_of(one, tokens)));
}

constexpr Kind kKinds[] = {
    {"v1_f32", small_v1, WeightDtype::f32},       {"v1_bf16", small_v1, WeightDtype::bf16},
    {"llama_f32", small_llama, WeightDtype::f32}, {"llama_bf16", small_llama, WeightDtype::bf16},
    {"v1_int8", small_v1, WeightDtype::i8},       {"llama_int8", small_llama, WeightDtype::i8}};
std::string name_of(const Kind& kind) { return kind.name; }
NANOCHAT_EACH_ON_EVERY_DEVICE(DecoderLaw, kKinds, name_of);
NANOCHAT_EACH_ON_EVERY_ISA(DecoderOnThreads, kKinds, name_of);

class DecoderRefusal : public DeviceTest {
 protected:
  std::shared_ptr<const Model> model_;
  void prepare() override { model_ = Model::create_random(device_, small_v1(), 1, {}, {}); }
  std::vector<float> logits_ = std::vector<float>(75 * 64);

  Status status_of(std::vector<SequenceInput> inputs, const Watch& watch = {}, const Trace& trace = {}) {
    try {
      forward(*model_, inputs, logits_.data(), watch, trace);
    } catch (const Error& error) {
      message_ = error.message();
      return error.status();
    }
    return Status::ok;
  }
  std::string message_;
};

NANOCHAT_ON_EVERY_KIND_OF_DEVICE(DecoderRefusal);

TEST_P(DecoderRefusal, NamesATokenThatIsNotInTheVocabulary) {
  KvCache cache(model_, 10);
  // 75 is a row of the padded table, but no token.
  for (const int32_t token : {75, -1, 127, 1 << 30}) {
    const Tokens tokens = {1, token};
    EXPECT_EQ(status_of({{&cache, tokens}}), Status::out_of_range);
    EXPECT_NE(message_.find(std::to_string(token)), std::string::npos) << message_;
    EXPECT_EQ(cache.length(), 0);
  }
}

TEST_P(DecoderRefusal, NamesPositionAndCapacityWhenTheContextIsFull) {
  KvCache cache(model_, 10);
  const Tokens tokens = some_tokens(8);
  EXPECT_EQ(status_of({{&cache, tokens}}), Status::ok);
  EXPECT_EQ(status_of({{&cache, tokens}}), Status::context_full);
  EXPECT_NE(message_.find("position 8"), std::string::npos) << message_;
  EXPECT_NE(message_.find("has 10"), std::string::npos) << message_;
  EXPECT_EQ(cache.length(), 8);
}

TEST_P(DecoderRefusal, ChecksEverySequenceBeforeAnythingChanges) {
  KvCache good(model_, 10), full(model_, 2);
  const Tokens tokens = some_tokens(3);
  EXPECT_EQ(status_of({{&good, tokens}, {&full, tokens}}), Status::context_full);
  EXPECT_EQ(good.length(), 0);
  EXPECT_EQ(status_of({{&good, {}}}), Status::invalid_argument);
  EXPECT_EQ(status_of({{nullptr, tokens}}), Status::invalid_argument);
  EXPECT_EQ(status_of({{&good, tokens}, {&good, tokens}}), Status::invalid_argument);
  const auto other_model = Model::create_random(device_, small_v1(), 1, {}, {});
  KvCache stranger(other_model, 10);
  EXPECT_EQ(status_of({{&stranger, tokens}}), Status::invalid_argument);
}

TEST_P(DecoderRefusal, NoSequencesAreNoWork) { EXPECT_EQ(status_of({}), Status::ok); }

TEST_P(DecoderRefusal, ACancelledPassLeavesTheCacheAsItWas) {
  const Tokens first = some_tokens(20), second = some_tokens(30, 5);
  KvCache cache(model_, 64), undisturbed(model_, 64);
  feed(cache, first);
  feed(undisturbed, first);
  const uint64_t used = device_->memory().stats().used_bytes;
  for (int64_t layer = 0; layer < 3; ++layer) {
    CancelToken token;
    Watch watch;
    watch.cancel = &token;
    const Trace cancel_in_layer = [&](const char*, int64_t i, auto&&...) {
      if (i == layer) token.request();
    };
    EXPECT_EQ(status_of({{&cache, second}}, watch, cancel_in_layer), Status::cancelled) << "layer " << layer;
    EXPECT_EQ(cache.length(), 20);
    EXPECT_EQ(device_->memory().stats().used_bytes, used);
  }
  EXPECT_TRUE(same_bits(feed(cache, second), feed(undisturbed, second)));
}

TEST_P(DecoderRefusal, TakesNoMoreThanThePlanSays) {
  const Tokens tokens = some_tokens(700);
  KvCache cache(model_, 700);
  const MemoryStats before = device_->memory().stats();
  std::vector<float> logits(700 * 75);
  uint64_t most = 0;
  const SequenceInput input{&cache, tokens, LogitRows::all};
  Watch watch;
  watch.on_progress = [&](const Progress&) {
    most = std::max(most, device_->memory().stats().used_bytes - before.used_bytes);
    return true;
  };
  forward(*model_, {&input, 1}, logits.data(), watch);
  EXPECT_EQ(most, model_->plan().working_bytes);
  EXPECT_EQ(device_->memory().stats().used_bytes, before.used_bytes);
}

}  // namespace
}  // namespace nanochat::testing
