#include "io/gguf_writer.h"

#include <numeric>

#include <gtest/gtest.h>

#include "base/error.h"
#include "unit/io/gguf_reader.h"
#include "unit/io/scratch_folder.h"

namespace nanochat::testing {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

GgufTensor tensor(std::string name, DType dtype, Shape shape) {
  GgufTensor made;
  made.name = std::move(name);
  made.dtype = dtype;
  made.shape = std::move(shape);
  return made;
}

const std::vector<GgufEntry> kOneOfEach = {{"u32", uint32_t{4000000000U}},
                                           {"u64", uint64_t{1} << 40},
                                           {"i32", int32_t{-7}},
                                           {"f32", 0.1F},
                                           {"yes", true},
                                           {"no", false},
                                           {"text", std::string("h\xc3\xa9")},
                                           {"texts", std::vector<std::string>{"", "a", "\n"}},
                                           {"floats", std::vector<float>{-1.5F, 2.0F}},
                                           {"ints", std::vector<int32_t>{1, -2, 3}}};

TEST(GgufWriter, WritesEveryKindOfValueWhereTheFormatHasIt) {
  const ScratchFolder folder;
  GgufWriter out(folder.file("a.gguf"), kOneOfEach, {});
  out.commit();
  const ReadGguf file = read_gguf(file_bytes(folder.file("a.gguf")));
  EXPECT_EQ(file.version, 3U);
  EXPECT_EQ(file.bytes.size(), file.data_start);
  ASSERT_EQ(file.keys.size(), kOneOfEach.size());
  for (size_t i = 0; i < kOneOfEach.size(); ++i) EXPECT_EQ(file.keys[i], kOneOfEach[i].key);
  EXPECT_EQ(file.values.at("u32").number(), 4000000000.0);
  EXPECT_EQ(file.values.at("u64").number(), 1099511627776.0);
  EXPECT_EQ(file.values.at("i32").number(), -7.0);
  EXPECT_EQ(file.values.at("f32").number(), static_cast<double>(0.1F));
  EXPECT_EQ(file.values.at("yes").number(), 1.0);
  EXPECT_EQ(file.values.at("no").number(), 0.0);
  EXPECT_EQ(file.values.at("text").text(), "h\xc3\xa9");
  EXPECT_EQ(file.values.at("texts").texts, (std::vector<std::string>{"", "a", "\n"}));
  EXPECT_EQ(file.values.at("floats").numbers, (std::vector<double>{-1.5, 2.0}));
  EXPECT_EQ(file.values.at("ints").numbers, (std::vector<double>{1, -2, 3}));
}

// Tensors of odd lengths, streamed in pieces that respect none of their borders.
TEST(GgufWriter, AlignsEveryTensorHoweverItsBytesAreCut) {
  std::vector<float> first(5), third(8);
  std::vector<uint16_t> second(3 * 7);
  std::iota(first.begin(), first.end(), 1.0F);
  std::iota(second.begin(), second.end(), uint16_t{100});
  std::iota(third.begin(), third.end(), -4.0F);
  std::vector<std::byte> all;
  for (const auto bytes : {bytes_of(first), bytes_of(second), bytes_of(third)}) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  for (const size_t step : {size_t{1}, size_t{7}, size_t{20}, all.size()}) {
    const ScratchFolder folder;
    GgufWriter out(folder.file("a.gguf"), {},
                   {tensor("first", DType::f32, {5}), tensor("second", DType::bf16, {3, 7}),
                    tensor("third", DType::f32, {2, 2, 2})});
    EXPECT_EQ(out.data_bytes(), all.size());
    for (size_t at = 0; at < all.size(); at += step) {
      out.write(std::span(all).subspan(at, std::min(step, all.size() - at)));
    }
    EXPECT_FALSE(file_exists(folder.file("a.gguf")));
    out.commit();
    const ReadGguf file = read_gguf(file_bytes(folder.file("a.gguf")));
    ASSERT_EQ(file.tensors.size(), 3U);
    for (const ReadGguf::Tensor& found : file.tensors) EXPECT_EQ(found.offset % 32, 0U) << found.name;
    EXPECT_EQ(file.tensor("second").dimensions, (std::vector<uint64_t>{7, 3}));
    EXPECT_EQ(file.tensor("second").type, 30U);
    EXPECT_EQ(file.data<float>("first"), first);
    EXPECT_EQ(file.data<uint16_t>("second"), second);
    EXPECT_EQ(file.data<float>("third"), third);
    EXPECT_EQ(file.bytes.size(), file.data_start + 32 + 64 + 32);
  }
}

TEST(GgufWriter, RefusesByNameWhatReadersWouldRefuse) {
  const ScratchFolder folder;
  const auto refuses = [&](const std::string& word, const std::vector<GgufEntry>& metadata,
                           std::vector<GgufTensor> tensors) {
    try {
      GgufWriter(folder.file("a.gguf"), metadata, std::move(tensors));
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_argument);
      EXPECT_NE(error.message().find(word), std::string::npos) << error.message();
    }
  };
  refuses("'twice' is declared twice", {{"twice", true}, {"twice", false}}, {});
  refuses("'w' is declared twice", {}, {tensor("w", DType::f32, {1}), tensor("w", DType::f32, {2})});
  refuses("64 bytes", {}, {tensor(std::string(64, 'n'), DType::f32, {1})});
  refuses("''", {}, {tensor("", DType::f32, {1})});
  refuses("not UTF-8", {{"key", std::string("\xff")}}, {});
  refuses("cannot be stored", {{"\xff", true}}, {});
  refuses("[]", {}, {tensor("w", DType::f32, {})});
  refuses("[1,1,1,1,1]", {}, {tensor("w", DType::f32, {1, 1, 1, 1, 1})});
  refuses("[3,0]", {}, {tensor("w", DType::f32, {3, 0})});
  refuses("[-1]", {}, {tensor("w", DType::f32, {-1})});
  refuses("[4611686018427387904]", {}, {tensor("w", DType::f32, {int64_t{1} << 62})});
  refuses("I8", {}, {tensor("w", DType::i8, {1})});
  EXPECT_TRUE(list_directory(folder.path()).empty());
}

TEST(GgufWriter, LeavesNothingBehindIfBytesAreMissingOrTooMany) {
  const ScratchFolder folder;
  const std::vector<float> values(3);
  {
    GgufWriter out(folder.file("a.gguf"), {}, {tensor("w", DType::f32, {4})});
    out.write(bytes_of(values));
    EXPECT_THROW(out.commit(), Error);
    EXPECT_THROW(out.write(bytes_of(values)), Error);
  }
  EXPECT_TRUE(list_directory(folder.path()).empty());
}

}  // namespace
}  // namespace nanochat::testing
