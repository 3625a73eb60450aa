// The table of the twelve and the ways into the fusion row.
#include "encoder/projection.h"

#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "encoder/similarity.h"
#include "unit/encoder/embedder_data.h"
#include "unit/io/scratch_folder.h"

namespace nanochat::testing {
namespace {

std::vector<float> normals(uint64_t seed, int64_t n) {
  const CounterRandom random(seed, 1);
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.normal(i));
  return values;
}

std::vector<float> room(const FusionInput& input) {
  return std::vector<float>(static_cast<size_t>(input.fusion_dim));
}

std::string refusal_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.message();
  }
  return "accepted";
}

TEST(FusionInputs, AreTheTwelveOfTheSpecification) {
  struct Row {
    const char *id, *name;
    int64_t native, fusion, offset;
  };
  const Row rows[] = {{"E1_Semantic", "semantic", 1024, 1024, 0},
                      {"E2_TemporalRecent", "temporal_recent", 512, 512, 1024},
                      {"E3_TemporalPeriodic", "temporal_periodic", 512, 512, 1536},
                      {"E4_TemporalPositional", "temporal_positional", 512, 512, 2048},
                      {"E5_Causal", "causal", 768, 768, 2560},
                      {"E6_Sparse", "sparse", 30522, 1536, 3328},
                      {"E7_Code", "code", 256, 768, 4864},
                      {"E8_Graph", "graph", 384, 384, 5632},
                      {"E9_HDC", "hdc", 10000, 1024, 6016},
                      {"E10_Multimodal", "multimodal", 768, 768, 7040},
                      {"E11_Entity", "entity", 384, 384, 7808},
                      {"E12_LateInteraction", "late_interaction", 128, 128, 8192}};
  size_t i = 0;
  for (const FusionInput& input : fusion_inputs()) {
    EXPECT_EQ(input.id, rows[i].id);
    EXPECT_EQ(input.name, rows[i].name);
    EXPECT_EQ(input.native_dim, rows[i].native);
    EXPECT_EQ(input.fusion_dim, rows[i].fusion);
    EXPECT_EQ(input.offset, rows[i].offset);
    EXPECT_EQ(&fusion_input(rows[i].id), &input);
    EXPECT_EQ(&fusion_input(rows[i].name), &input);
    EXPECT_EQ(input.has_weights, i == 0 || (i >= 4 && i != 8));
    ++i;
  }
  EXPECT_EQ(i, 12u);
  EXPECT_NE(refusal_of([] { fusion_input("E13"); }).find("'E13'"), std::string::npos);
}

TEST(FusionProjection, IsTheIdentityWhereWidthsAgree) {
  for (const FusionInput& input : fusion_inputs()) {
    const FusionProjection projection(input);
    const bool has_width = input.native_dim == input.fusion_dim;
    EXPECT_EQ(projection.is_identity(), has_width) << input.id;
    EXPECT_FALSE(projection.is_trained());
    if (!has_width || input.form != EmbeddingForm::dense) continue;
    const std::vector<float> x = normals(1, input.native_dim);
    std::vector<float> y = room(input);
    projection.project(x, y);
    EXPECT_TRUE(same_bits(x, y)) << input.id;
  }
}

TEST(FusionProjection, EqualsAnotherProgram) {
  const EmbedderData data;
  const FusionInput& code = fusion_input("code");
  const FusionProjection code_projection(code);
  const std::vector<float> codes = data.floats("code");
  for (size_t row = 0; row < 2; ++row) {
    std::vector<float> y = room(code);
    code_projection.project(std::span(codes).subspan(row * 256, 256), y);
    EXPECT_TRUE(same_bits(y, std::span<const float>(data.floats("code_parts")).subspan(row * 768, 768)));
  }
  std::vector<SparseValue> values;
  const std::vector<int32_t> indices = ids_of(data.file, "sparse_indices");
  for (size_t i = 0; i < indices.size(); ++i) {
    values.push_back({indices[i], data.floats("sparse_values")[i]});
  }
  std::vector<float> sparse = room(fusion_input("sparse"));
  FusionProjection(fusion_input("sparse")).project_sparse(values, sparse);
  EXPECT_TRUE(same_bits(sparse, data.floats("sparse_part")));
  const FusionProjection bits(fusion_input("hdc"));
  for (size_t row = 0; row < 2; ++row) {
    std::vector<float> y = room(bits.input());
    bits.project_bits(embed_hyperdimensional(data.texts()[row]), y);
    // There in floating point, here in integers.
    expect_near(y, std::span<const float>(data.floats("hdc_parts")).subspan(row * 1024, 1024), 2e-9F, "bits");
  }
  std::vector<float> pooled = room(fusion_input("late_interaction"));
  FusionProjection(fusion_input("late_interaction")).project_tokens(data.floats("tokens"), pooled);
  expect_near(pooled, data.floats("token_part"), 3e-8F, "tokens");
}

TEST(FusionProjection, KeepsLengthsAndAnglesOnAverage) {
  const FusionProjection projection(fusion_input("code"));
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const std::vector<float> a = normals(seed, 256), b = normals(seed + 100, 256);
    std::vector<float> pa = room(projection.input()), pb = pa;
    projection.project(a, pa);
    projection.project(b, pb);
    EXPECT_NEAR(std::sqrt(dot_product(pa, pa) / dot_product(a, a)), 1.0, 0.12);
    EXPECT_NEAR(cosine_similarity(pa, pb), cosine_similarity(a, b), 0.15);
  }
}

TEST(FusionProjection, OfBitsKeepsTheOrderOfHammingDistances) {
  const FusionProjection projection(fusion_input("hdc"));
  const auto part = [&](const char* text) {
    std::vector<float> y = room(projection.input());
    projection.project_bits(embed_hyperdimensional(text), y);
    return y;
  };
  const auto a = part("the cat sat on the mat"), b = part("the cat sat on a mat"),
             c = part("19 February 1473");
  EXPECT_NEAR(std::sqrt(dot_product(a, a)), 1.0, 0.12);
  EXPECT_GT(cosine_similarity(a, b), 0.4);
  EXPECT_LT(std::abs(cosine_similarity(a, c)), 0.2);
}

TEST(FusionProjection, PoolsTokensToLengthOne) {
  const FusionProjection projection(fusion_input("late_interaction"));
  std::vector<float> y = room(projection.input());
  projection.project_tokens(normals(3, 128 * 7), y);
  EXPECT_NEAR(dot_product(y, y), 1.0, 1e-6);
  projection.project_tokens(std::vector<float>(256, 0.0F), y);
  for (const float value : y) EXPECT_EQ(value, 0.0F);
}

// A hand-made file of F32 tensors.
std::string trained_file(const ScratchFolder& folder,
                         const std::vector<std::pair<std::string, Shape>>& tensors,
                         const std::vector<float>& values) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, shape] : tensors) {
    infos.emplace_back();
    infos.back().name = name;
    infos.back().shape = shape;
  }
  SafetensorsWriter writer(folder.file("projection.safetensors"), infos);
  writer.write(std::as_bytes(std::span(values)));
  writer.commit();
  return folder.file("projection.safetensors");
}

TEST(FusionProjection, AppliesTrainedWeightsFromAFile) {
  const ScratchFolder folder;
  const FusionInput& input = fusion_input("code");
  const std::vector<float> values = normals(5, 768 * 256 + 768);
  const FusionProjection projection(input,
                                    trained_file(folder, {{"weight", {768, 256}}, {"bias", {768}}}, values));
  EXPECT_TRUE(projection.is_trained());
  const std::vector<float> x = normals(6, 256);
  std::vector<float> y = room(input), expected;
  projection.project(x, y);
  for (size_t j = 0; j < 768; ++j) {
    double sum = 0.0;
    for (size_t i = 0; i < 256; ++i)
      sum += static_cast<double>(values[j * 256 + i]) * static_cast<double>(x[i]);
    expected.push_back(static_cast<float>(sum + static_cast<double>(values[768 * 256 + j])));
  }
  EXPECT_TRUE(same_bits(y, expected));
}

TEST(FusionProjection, RefusesAFileOfAnotherShapeWithBoth) {
  const ScratchFolder folder;
  const FusionInput& input = fusion_input("code");
  const auto refusal = [&](const std::vector<std::pair<std::string, Shape>>& tensors,
                           std::vector<float> values) {
    return refusal_of([&] { FusionProjection(input, trained_file(folder, tensors, values)); });
  };
  EXPECT_NE(refusal({{"weight", {4, 3}}}, std::vector<float>(12)).find("shape [4,3], expected [768,256]"),
            std::string::npos);
  EXPECT_NE(refusal({{"w", {4}}}, std::vector<float>(4)).find("'weight' is missing"), std::string::npos);
  std::vector<float> values(768 * 256, 0.5F);
  values[1000] = std::numeric_limits<float>::infinity();
  EXPECT_NE(refusal({{"weight", {768, 256}}}, values).find("1000"), std::string::npos);
  EXPECT_THROW(FusionProjection(input, folder.file("nothing")), Error);
}

TEST(FusionProjection, RefusesWhatItsEmbedderDoesNotGive) {
  const FusionProjection code(fusion_input("code")), sparse(fusion_input("sparse")),
      tokens(fusion_input("late_interaction"));
  std::vector<float> y(768), wide(1536), narrow(128), x(256, 1.0F);
  EXPECT_EQ(refusal_of([&] { code.project(std::vector<float>(255), y); }),
            "E7_Code: 255 values, expected 256");
  EXPECT_EQ(refusal_of([&] { code.project(x, narrow); }), "E7_Code: room for 128 values, expected 768");
  x[17] = std::nanf("");
  EXPECT_EQ(refusal_of([&] { code.project(x, y); }), "E7_Code: value 17 is nan, expected a finite number");
  EXPECT_EQ(refusal_of([&] { code.project_tokens(x, y); }),
            "E7_Code gives one dense vector, not vectors of tokens");
  const auto sparse_refusal = [&](std::vector<SparseValue> values) {
    return refusal_of([&] { sparse.project_sparse(values, wide); });
  };
  EXPECT_NE(sparse_refusal({{5, 1.0F}, {5, 1.0F}}).find("index 5 after 5"), std::string::npos);
  EXPECT_NE(sparse_refusal({{30522, 1.0F}}).find("index 30522"), std::string::npos);
  EXPECT_NE(sparse_refusal({{-1, 1.0F}}).find("index -1"), std::string::npos);
  EXPECT_NE(sparse_refusal({{3, std::nanf("")}}).find("value 3 is nan"), std::string::npos);
  EXPECT_EQ(sparse_refusal({}), "accepted");
  EXPECT_NE(refusal_of([&] { tokens.project_tokens({}, narrow); }).find("one token"), std::string::npos);
  EXPECT_NE(refusal_of([&] { tokens.project_tokens(std::vector<float>(129), narrow); }).find("129"),
            std::string::npos);
}

TEST(FusionRow, TakesEachPartAtItsPlace) {
  std::vector<float> row(8320, -1.0F);
  for (const FusionInput& input : fusion_inputs()) {
    place_fusion_part(
        input, std::vector<float>(static_cast<size_t>(input.fusion_dim), static_cast<float>(input.number)),
        row);
  }
  for (const FusionInput& input : fusion_inputs()) {
    EXPECT_EQ(row[static_cast<size_t>(input.offset)], static_cast<float>(input.number));
    EXPECT_EQ(row[static_cast<size_t>(input.offset + input.fusion_dim - 1)],
              static_cast<float>(input.number));
  }
  EXPECT_THROW(place_fusion_part(fusion_inputs()[0], std::vector<float>(1023), row), Error);
  std::vector<float> narrow(8319);
  EXPECT_THROW(place_fusion_part(fusion_inputs()[0], std::vector<float>(1024), narrow), Error);
}

}  // namespace
}  // namespace nanochat::testing
