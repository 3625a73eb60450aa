#include "io/safetensors.h"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <gtest/gtest.h>

#include "base/error.h"
#include "unit/io/safetensors_bytes.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

const std::string kFixtures = std::string(NANOCHAT_TEST_DATA) + "/safetensors/";

// The bytes that tests/tools/make_safetensors_fixtures.py puts into a tensor.
std::string pattern(size_t n, size_t seed) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += static_cast<char>((i * 7 + seed) % 251);
  return out;
}

std::string data_of(const SafetensorsFile& file, const TensorInfo& info) {
  return {static_cast<const char*>(file.view(info).data), info.n_bytes};
}

std::string copy_through_writer(const SafetensorsFile& file, const std::string& path) {
  SafetensorsWriter writer(path, file.tensors(), file.metadata());
  for (const TensorInfo& info : file.tensors()) writer.write(as_bytes(data_of(file, info)));
  writer.commit();
  return file_bytes(path);
}

bool parses(const std::string& bytes, const ScratchFolder& folder) {
  try {
    const SafetensorsFile file(folder.write("candidate.safetensors", bytes));
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(error.status() == Status::format_invalid || error.status() == Status::format_unsupported)
        << error.message();
    return false;
  }
}

TEST(Safetensors, ReadsEveryElementTypeOfTheReferenceImplementation) {
  const SafetensorsFile file(kFixtures + "every_type.safetensors");
  const char* names[] = {"BOOL", "U8",  "I8",  "F8_E4M3", "F8_E5M2", "I16", "U16", "F16",
                         "BF16", "I32", "U32", "F32",     "F64",     "I64", "U64"};
  ASSERT_EQ(file.tensors().size(), std::size(names));
  for (size_t i = 0; i < std::size(names); ++i) {
    const TensorInfo* info = file.find(std::string("type.") + names[i]);
    ASSERT_NE(info, nullptr) << names[i];
    EXPECT_EQ(dtype_name(info->dtype), names[i]);
    EXPECT_EQ(info->shape, (Shape{3, 2}));
    std::string expected = pattern(static_cast<size_t>(6 * dtype_size(info->dtype)), i);
    if (info->dtype == DType::boolean) {
      for (char& c : expected) c = static_cast<char>(c & 1);
    }
    EXPECT_EQ(data_of(file, *info), expected) << names[i];
    EXPECT_TRUE(file.is_aligned(*info)) << names[i];
  }
  EXPECT_EQ(file.metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"made by", "safetensors"}}));
}

TEST(Safetensors, ReadsScalarsEmptyTensorsAndAnyUnicodeName) {
  const SafetensorsFile file(kFixtures + "shapes.safetensors");
  ASSERT_EQ(file.tensors().size(), 5U);
  EXPECT_EQ(file.find("scalar")->shape, Shape{});
  EXPECT_EQ(data_of(file, *file.find("scalar")), pattern(4, 1));
  EXPECT_EQ(file.find("empty")->shape, (Shape{0, 4}));
  EXPECT_EQ(file.find("empty")->n_bytes, 0U);
  EXPECT_EQ(data_of(file, *file.find("vector")), pattern(20, 3));
  EXPECT_EQ(file.find("deep")->shape, (Shape{1, 2, 1, 2, 1, 2, 1, 2}));
  ASSERT_NE(file.find("näme \"quoted\" \\ \n 语言 😀"), nullptr);
  EXPECT_EQ(data_of(file, *file.find("näme \"quoted\" \\ \n 语言 😀")), pattern(8, 5));
  EXPECT_EQ(file.find("absent"), nullptr);
  EXPECT_TRUE(file.metadata().empty());
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  EXPECT_TRUE(SafetensorsFile(kFixtures + "no_tensors.safetensors").tensors().empty());
}

TEST(Safetensors, ReadsAFileOfAnotherProgram) {
  const SafetensorsFile file(kFixtures + "jfk-codes.safetensors");
  ASSERT_EQ(file.tensors().size(), 1U);
  const TensorView codes = file.view(*file.find("codes"));
  EXPECT_EQ(codes.dtype, DType::i64);
  EXPECT_EQ(codes.shape, (Shape{1, 2, 828}));
  int64_t value = 0;
  for (int64_t i = 0; i < codes.n_elements(); ++i) {
    std::memcpy(&value, static_cast<const char*>(codes.data) + 8 * i, 8);
    ASSERT_TRUE(value >= 0 && value < 1024) << "EnCodec's code books have 1024 entries; element " << i;
  }
}

TEST(Safetensors, GivesTensorsInTheOrderOfTheirDataWhateverTheHeadersOrder) {
  const ScratchFolder folder;
  const SafetensorsFile file(
      folder.write("f", safetensors_bytes(R"({"z":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},)"
                                          R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                                          R"("m":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}})",
                                          5)));
  ASSERT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "m");
  EXPECT_EQ(file.tensors()[2].name, "z");
  EXPECT_EQ(data_of(file, file.tensors()[2]), std::string("\3\4"));
}

TEST(Safetensors, IgnoresOtherKeysOfAnEntry) {
  const ScratchFolder folder;
  EXPECT_TRUE(parses(
      safetensors_bytes(R"({"w":{"note":[{"a":null}],"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
      folder));
}

TEST(Safetensors, AllowsSpacesAfterTheHeader) {
  const ScratchFolder folder;
  EXPECT_TRUE(parses(safetensors_bytes("{}" + std::string(1000, ' '), 0), folder));
}

TEST(Safetensors, AcceptsUnalignedDataAndSaysSo) {
  const ScratchFolder folder;
  const std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("w":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  const SafetensorsFile file(folder.write("f", safetensors_bytes(header, 5)));
  const bool aligned = (8 + header.size() + 1) % 4 == 0;
  EXPECT_EQ(file.is_aligned(*file.find("w")), aligned);
  EXPECT_TRUE(file.is_aligned(*file.find("b")));
  EXPECT_EQ(data_of(file, *file.find("w")), std::string("\1\2\3\4"));
}

TEST(Safetensors, CountsAnEmptyTensorOfLargeDimensionsAsEmpty) {
  const ScratchFolder folder;
  EXPECT_TRUE(parses(
      safetensors_bytes(R"({"e":{"dtype":"U8","shape":[4294967296,0,65536],"data_offsets":[0,0]}})", 0),
      folder));
}

TEST(Safetensors, RefusesEveryPrefixOfAFile) {
  const ScratchFolder folder;
  const std::string whole = file_bytes(kFixtures + "shapes.safetensors");
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(parses(whole.substr(0, n), folder)) << n << " of " << whole.size() << " bytes";
  }
  EXPECT_TRUE(parses(whole, folder));
}

TEST(Safetensors, RefusesEveryExtensionOfAFile) {
  const ScratchFolder folder;
  const std::string whole = file_bytes(kFixtures + "shapes.safetensors");
  for (size_t n = 1; n < 20; ++n) EXPECT_FALSE(parses(whole + std::string(n, '\0'), folder)) << n;
}

// Either the file is refused, or what was read obeys the rules; never a crash or a read outside of the file.
TEST(Safetensors, SurvivesEveryBitFlipOfAHeader) {
  const std::string name = "flipped";
  const std::string whole = file_bytes(kFixtures + "every_type.safetensors");
  const size_t header_bytes = whole.size() - 8 - 294;
  size_t n_accepted = 0;
  for (size_t bit = 0; bit < header_bytes * 8; ++bit) {
    std::string header = whole.substr(8, header_bytes);
    header[bit / 8] = static_cast<char>(header[bit / 8] ^ (1 << (bit % 8)));
    std::vector<TensorInfo> tensors;
    std::map<std::string, std::string> metadata;
    try {
      parse_safetensors_header(header, 294, name, tensors, metadata);
    } catch (const Error& error) {
      ASSERT_TRUE(error.status() == Status::format_invalid || error.status() == Status::format_unsupported);
      ASSERT_NE(error.message().find(name), std::string::npos) << error.message();
      continue;
    }
    ++n_accepted;
    uint64_t position = 0;
    for (const TensorInfo& info : tensors) {
      ASSERT_EQ(info.offset, position);
      position += info.n_bytes;
    }
    ASSERT_EQ(position, 294U);
  }
  EXPECT_GT(n_accepted, 0U) << "a flip inside of a name gives another valid name";
}

// A cost that grew with the square of the number would exceed the time limit of the test program.
TEST(Safetensors, ReadsAHundredThousandTensors) {
  constexpr size_t kTensors = 100'000;
  std::string header = "{";
  for (size_t i = 0; i < kTensors; ++i) {
    const std::string at = std::to_string(i), next = std::to_string(i + 1);
    header += "\"model.layers." + at + R"(.weight":{"dtype":"U8","shape":[1,1],"data_offsets":[)" + at + "," +
              next + "]},";
  }
  header.back() = '}';
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  const auto start = std::chrono::steady_clock::now();
  parse_safetensors_header(header, kTensors, "many", tensors, metadata);
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  RecordProperty("milliseconds", static_cast<int>(elapsed.count()));
  ASSERT_EQ(tensors.size(), kTensors);
  EXPECT_EQ(tensors.back().offset, kTensors - 1);
}

TEST(SafetensorsWriter, WritesTheBytesOfTheReferenceImplementation) {
  const ScratchFolder folder;
  for (const char* name :
       {"every_type.safetensors", "shapes.safetensors", "no_tensors.safetensors", "jfk-codes.safetensors"}) {
    const std::string original = kFixtures + name;
    EXPECT_EQ(copy_through_writer(SafetensorsFile(original), folder.file(name)), file_bytes(original))
        << name;
  }
}

TEST(SafetensorsWriter, KeepsAModelAsItIs) {
  const ScratchFolder folder;
  const std::string original = std::string(NANOCHAT_TEST_DATA) + "/models/stories260K/model.safetensors";
  const SafetensorsFile before(original);
  copy_through_writer(before, folder.file("copy"));
  const SafetensorsFile after(folder.file("copy"));
  ASSERT_EQ(after.tensors().size(), 47U);
  EXPECT_EQ(after.metadata(), before.metadata());
  for (const TensorInfo& info : before.tensors()) {
    const TensorInfo* copy = after.find(info.name);
    ASSERT_NE(copy, nullptr) << info.name;
    EXPECT_EQ(copy->shape, info.shape) << info.name;
    EXPECT_EQ(data_of(after, *copy), data_of(before, info)) << info.name;
  }
}

TEST(SafetensorsWriter, TakesTheDataInAnyPieces) {
  const ScratchFolder folder;
  const std::string data = pattern(40, 9);
  SafetensorsWriter writer(folder.file("f"), {{.name = "a", .dtype = DType::i64, .shape = {3}},
                                              {.name = "b", .dtype = DType::u8, .shape = {16}}});
  for (size_t at = 0, n = 1; at < data.size(); at += n, n = (n * 3) % 7) {
    n = std::min(n, data.size() - at);
    writer.write(as_bytes(data.substr(at, n)));
  }
  writer.write({});
  writer.commit();
  const SafetensorsFile file(folder.file("f"));
  EXPECT_EQ(data_of(file, *file.find("a")), data.substr(0, 24));
  EXPECT_EQ(data_of(file, *file.find("b")), data.substr(24));
}

TEST(SafetensorsWriter, RoundTripsMetadataThatNeedsEscapes) {
  const ScratchFolder folder;
  const std::map<std::string, std::string> metadata = {{"", "\"\\\n\t\1"}, {"ключ", std::string("a\0b", 3)}};
  SafetensorsWriter(folder.file("f"), {}, metadata).commit();
  EXPECT_EQ(SafetensorsFile(folder.file("f")).metadata(), metadata);
}

TEST(SafetensorsWriter, LeavesTheOldFileWhenItIsNotCommitted) {
  const ScratchFolder folder;
  const std::string path = folder.write("f", "old");
  {
    SafetensorsWriter writer(path, {{.name = "a", .dtype = DType::u8, .shape = {4}}});
    writer.write(as_bytes("ab"));
    try {
      writer.commit();
      FAIL() << "committed with bytes missing";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::internal));
    }
  }
  EXPECT_EQ(file_bytes(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
      << "no temporary file stays";
}

// Fails the n-th system call for every n: the old file stays whole, or the new one is there whole.
TEST(SafetensorsWriter, LeavesOneWholeFileWhicheverCallFails) {
  for (int n = 1;; ++n) {
    const ScratchFolder folder;
    const std::string path = folder.write("f", "old");
    int n_calls = 0;
    bool failed = false;
    set_file_fault([&](const char*, const std::string&) { return ++n_calls == n ? ENOSPC : 0; });
    try {
      SafetensorsWriter writer(path, {{.name = "a", .dtype = DType::u8, .shape = {4}}});
      writer.write(as_bytes("abcd"));
      writer.commit();
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::file_io)) << error.message();
      EXPECT_NE(error.message().find(folder.path()), std::string::npos) << error.message();
    }
    set_file_fault(nullptr);
    const std::string bytes = file_bytes(path);
    EXPECT_TRUE(bytes == "old" || bytes.ends_with("abcd")) << "call " << n;
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "call " << n;
    if (n_calls < n) {
      EXPECT_FALSE(failed);
      EXPECT_GT(n, 4) << "opening, writing, syncing and renaming are calls";
      break;
    }
  }
}

TEST(SafetensorsWriter, RefusesMoreBytesThanDeclared) {
  const ScratchFolder folder;
  SafetensorsWriter writer(folder.file("f"), {{.name = "a", .dtype = DType::u8, .shape = {4}}});
  writer.write(as_bytes("abc"));
  EXPECT_THROW(writer.write(as_bytes("de")), Error);
  writer.write(as_bytes("d"));
  writer.commit();
  EXPECT_EQ(data_of(SafetensorsFile(folder.file("f")),
                    {.name = "", .dtype = DType::u8, .shape = {4}, .offset = 8 + 56, .n_bytes = 4}),
            "abcd");
}

TEST(SafetensorsWriter, RefusesWhatTheReaderWouldRefuse) {
  const ScratchFolder folder;
  const TensorInfo good{.name = "a", .dtype = DType::f32, .shape = {4}};
  const std::vector<std::vector<TensorInfo>> refused = {
      {{.name = "", .dtype = DType::f32, .shape = {1}}},
      {{.name = std::string("a\0b", 3), .dtype = DType::f32, .shape = {1}}},
      {{.name = "\xff", .dtype = DType::f32, .shape = {1}}},
      {{.name = "__metadata__", .dtype = DType::f32, .shape = {1}}},
      {{.name = "a", .dtype = DType::f32, .shape = {-1}}},
      {{.name = "a", .dtype = DType::f32, .shape = Shape(9, 1)}},
      {{.name = "a", .dtype = DType::f32, .shape = {int64_t{1} << 62}}},
      {{.name = "a", .dtype = DType::f32, .shape = {0, int64_t{1} << 40, int64_t{1} << 40}}},
      {good, good},
  };
  for (const auto& tensors : refused) {
    try {
      const SafetensorsWriter writer(folder.file("f"), tensors);
      ADD_FAILURE() << "accepted '" << tensors[0].name << "'";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::invalid_argument))
          << error.message();
    }
  }
  EXPECT_THROW(SafetensorsWriter(folder.file("f"), {good}, {{"key", "\xc0"}}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace nanochat
