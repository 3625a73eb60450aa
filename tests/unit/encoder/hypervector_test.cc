// E9: against an independent program, and by the properties of hyperdimensional vectors.
#include "encoder/hypervector.h"

#include <cstring>

#include "encoder/similarity.h"
#include "unit/encoder/embedder_data.h"

namespace nanochat::testing {
namespace {

TEST(Hypervector, EqualsTheBitsOfAnotherProgram) {
  const EmbedderData data;
  const std::vector<std::byte> expected = data.bytes("hypervectors");
  const std::vector<std::string> texts = data.texts();
  ASSERT_EQ(expected.size(), texts.size() * 1250);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto bytes = embed_hyperdimensional(texts[i]).bytes();
    EXPECT_EQ(std::memcmp(bytes.data(), expected.data() + i * 1250, 1250), 0) << "text " << i;
  }
}

TEST(Hypervector, OfSymbolsAreNearlyOrthogonal) {
  for (uint32_t a = 'a'; a < 'a' + 20; ++a) {
    for (uint32_t b = 'a'; b < a; ++b) {
      const int64_t distance = hamming_distance(symbol_hypervector(a), symbol_hypervector(b));
      EXPECT_NEAR(static_cast<double>(distance), 5000.0, 250.0) << a << " " << b;  // five deviations
    }
    int64_t n_ones = 0;
    for (int64_t i = 0; i < Hypervector::kBits; ++i) n_ones += symbol_hypervector(a).bit(i) ? 1 : 0;
    EXPECT_NEAR(static_cast<double>(n_ones), 5000.0, 250.0) << a;
  }
}

TEST(Hypervector, RotatesOneBitAndComesBackAfterAll) {
  const Hypervector start = symbol_hypervector('x');
  Hypervector turned = start.rotated();
  for (int64_t i = 0; i < Hypervector::kBits; ++i) {
    ASSERT_EQ(turned.bit((i + 1) % Hypervector::kBits), start.bit(i)) << i;
  }
  EXPECT_NEAR(hamming_similarity(start, turned), 0.5, 0.025);
  for (int64_t i = 1; i < Hypervector::kBits; ++i) turned = turned.rotated();
  EXPECT_EQ(turned, start);
}

TEST(Hypervector, BindingIsUndoneByBindingAgainAndKeepsDistances) {
  const Hypervector a = symbol_hypervector('a'), b = symbol_hypervector('b'), c = symbol_hypervector('c');
  EXPECT_EQ((a ^ b) ^ b, a);
  EXPECT_NEAR(hamming_similarity(a ^ b, a), 0.5, 0.025);
  EXPECT_EQ(hamming_distance(a ^ c, b ^ c), hamming_distance(a, b));
}

TEST(HypervectorBundle, KeepsMembersCloserThanStrangers) {
  for (const uint32_t n : {2U, 3U, 10U, 51U}) {
    HypervectorBundle bundle;
    for (uint32_t i = 0; i < n; ++i) bundle.add(symbol_hypervector(i));
    const Hypervector majority = bundle.majority();
    double worst_member = 1.0, best_stranger = 0.0;
    for (uint32_t i = 0; i < n; ++i) {
      worst_member = std::min(worst_member, hamming_similarity(majority, symbol_hypervector(i)));
      best_stranger = std::max(best_stranger, hamming_similarity(majority, symbol_hypervector(1000 + i)));
    }
    EXPECT_GT(worst_member, best_stranger + 0.01) << n;
    EXPECT_LT(best_stranger, 0.525) << n;
  }
}

TEST(HypervectorBundle, OfOneIsItselfAndOfNoneTheTieBreaker) {
  HypervectorBundle one, none;
  one.add(symbol_hypervector('q'));
  EXPECT_EQ(one.majority(), symbol_hypervector('q'));
  EXPECT_EQ(none.majority(), symbol_hypervector(HypervectorSymbol::kTie));
}

TEST(HyperdimensionalEmbedder, PutsTextsThatShareTrigramsCloser) {
  const Hypervector a = embed_hyperdimensional("The quick brown fox jumps over the lazy dog");
  const Hypervector b = embed_hyperdimensional("The quick brown fox jumped over a lazy dog");
  const Hypervector c = embed_hyperdimensional("Zwölf Boxkämpfer jagen Viktor quer");
  EXPECT_GT(hamming_similarity(a, b), 0.7);
  EXPECT_LT(hamming_similarity(a, c), 0.56);
  EXPECT_EQ(hamming_similarity(a, a), 1.0);
}

TEST(HyperdimensionalEmbedder, DependsOnTheOrder) {
  EXPECT_LT(hamming_similarity(embed_hyperdimensional("abc"), embed_hyperdimensional("cba")), 0.6);
}

TEST(HyperdimensionalEmbedder, TakesEveryByte) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const Hypervector a = embed_hyperdimensional(bytes);
  bytes[200] = static_cast<char>(0xfe);
  EXPECT_NE(embed_hyperdimensional(bytes), a);
}

}  // namespace
}  // namespace nanochat::testing
