// Every way a safetensors file can be wrong, and what the error must say.
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/safetensors.h"
#include "unit/io/safetensors_bytes.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

struct Corruption {
  const char* name;
  std::string bytes;
  std::vector<std::string> says;
  Status status = Status::format_invalid;
};

std::ostream& operator<<(std::ostream& out, const Corruption& corruption) { return out << corruption.name; }

// One tensor 'w' of 8 bytes: F32 [2] unless an argument says otherwise.
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  const std::string header = R"({"w":{"dtype":)" + std::string(dtype) + R"(,"shape":)" + std::string(shape) +
                             R"(,"data_offsets":)" + std::string(offsets) + "}}";
  return safetensors_bytes(header, 8);
}
std::string shape(std::string_view text) { return one(R"("F32")", text, "[0,8]"); }
std::string dtype(std::string_view text) { return one(text, "[2]", "[0,8]"); }
std::string offsets(std::string_view text) { return one(R"("F32")", "[2]", text); }
std::string entry(std::string_view text) {
  return safetensors_bytes(R"({"w":)" + std::string(text) + "}", 8);
}
std::string metadata(std::string_view text) {
  return safetensors_bytes(R"({"__metadata__":)" + std::string(text) + "}", 0);
}

std::string two(std::string_view first, std::string_view second, size_t data_bytes) {
  const auto member = [](const char* name, std::string_view range) {
    return std::string(name) + R"(:{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(range) + "}";
  };
  return safetensors_bytes("{" + member(R"("a")", first) + "," + member(R"("b")", second) + "}", data_bytes);
}

const std::string kGood = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

std::string nested(size_t depth) {
  return entry(R"({"extra":)" + std::string(depth, '[') + std::string(depth, ']') + "}");
}

std::vector<Corruption> corruptions() {
  const Status invalid = Status::format_invalid;
  const Status unsupported = Status::format_unsupported;
  return {
      // The length and the frame of the header.
      {"EmptyFile", "", {"0 bytes", "8 bytes"}},
      {"SevenBytes", std::string(7, '\1'), {"7 bytes", "8 bytes"}},
      {"LengthWithoutHeader", length_prefix(2), {"header length 2", "file of 8 bytes"}},
      {"HeaderLengthZero", length_prefix(0) + "{}", {"header length 0 at offset 0"}},
      {"HeaderLengthOneBeyondTheFile", length_prefix(3) + "{}", {"header length 3", "file of 10 bytes"}},
      {"HeaderLengthAboveTheLimit", length_prefix(100'000'001) + kGood, {"100000001", "100000000"}},
      {"HeaderLengthNegative", length_prefix(~uint64_t{0}) + kGood, {"18446744073709551615", "100000000"}},
      {"HeaderStartsWithASpace", safetensors_bytes(" " + kGood, 8), {"' '", "offset 8", "'{'"}},
      {"HeaderIsABracket", safetensors_bytes("[]", 0), {"'['", "offset 8", "'{'"}},
      {"HeaderIsText", safetensors_bytes("hello", 0), {"'h'", "'{'"}},
      {"HeaderStartsWithAByteOrderMark", safetensors_bytes("\xef\xbb\xbf{}", 0), {"offset 8", "'{'"}},
      {"HeaderIsNotUtf8", safetensors_bytes("{\"\xff\":1}", 0), {"not UTF-8", "offset 10", "255"}},
      {"HeaderHasAnEncodedSurrogate",
       safetensors_bytes("{\"\xed\xa0\x80\":1}", 0),
       {"not UTF-8", "offset 10"}},
      {"HeaderFollowedByText", safetensors_bytes(kGood + "x", 8), {"not valid JSON", "byte 54", "of 55"}},
      {"HeaderFollowedByAnObject",
       safetensors_bytes(kGood + "{}", 8),
       {"not valid JSON", "byte 54", "of 56"}},
      {"HeaderFollowedByANewline",
       safetensors_bytes(kGood + "\n ", 8),
       {"\\x0a", "offset 62", "only spaces"}},
      {"HeaderFollowedByATab", safetensors_bytes(kGood + "  \t", 8), {"follows the header", "offset 62"}},
      {"HeaderFollowedByNul", safetensors_bytes(kGood + std::string(2, '\0'), 8), {"NUL", "byte 54"}},
      {"HeaderCutInside", safetensors_bytes(kGood.substr(0, 30), 8), {"not valid JSON", "byte 30 of 30"}},
      {"HeaderWithAComment", safetensors_bytes("{/**/}", 0), {"not valid JSON", "byte 1"}},
      {"HeaderWithATrailingComma", safetensors_bytes("{\"a\":1,}", 0), {"'a'", "1"}},
      {"HeaderNestedDeep", nested(1000), {"nested deeper than 128"}},
      {"HeaderNestedVeryDeep", nested(1'000'000), {"nested deeper than 128"}},
      // Names.
      {"NameTwice",
       safetensors_bytes(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                         R"("w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                         8),
       {"'w'", "twice"}},
      {"NameTwiceThroughAnEscape",
       safetensors_bytes(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                         R"("\u0077":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                         0),
       {"'w'", "twice"}},
      {"NameEmpty",
       safetensors_bytes(R"({"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       {"tensor ''", "empty"}},
      {"NameWithNul",
       safetensors_bytes(R"({"a\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       {"a\\x00b", "NUL", "byte 1 of 3"}},
      {"MetadataTwice",
       safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})", 0),
       {"__metadata__", "twice"}},
      // Entries.
      {"EntryIsANumber", entry("7"), {"'w'", "7", "object"}},
      {"EntryIsNull", entry("null"), {"'w'", "null", "object"}},
      {"EntryIsAnArray", entry(R"(["F32",[2],[0,8]])"), {"'w'", R"(["F32",[2],[0,8]])", "object"}},
      {"EntryIsEmpty", entry("{}"), {"'w'", "'dtype' is missing", "{}"}},
      {"EntryKeyTwice",
       entry(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"),
       {"shape", "twice"}},
      {"DtypeMissing", entry(R"({"shape":[2],"data_offsets":[0,8]})"), {"'w'", "'dtype' is missing"}},
      {"ShapeMissing", entry(R"({"dtype":"F32","data_offsets":[0,8]})"), {"'w'", "'shape' is missing"}},
      {"OffsetsMissing", entry(R"({"dtype":"F32","shape":[2]})"), {"'w'", "'data_offsets' is missing"}},
      {"OffsetsUnderTheWrongKey",
       entry(R"({"dtype":"F32","shape":[2],"offsets":[0,8]})"),
       {"'w'", "'data_offsets' is missing"}},
      // Types.
      {"DtypeIsANumber", dtype("32"), {"'w'", "dtype is 32", "string"}},
      {"DtypeIsNull", dtype("null"), {"'w'", "dtype is null", "string"}},
      {"DtypeUnknown", dtype(R"("F33")"), {"'w'", "unknown dtype 'F33'"}},
      {"DtypeInLowerCase", dtype(R"("f32")"), {"'w'", "unknown dtype 'f32'"}},
      {"DtypeEmpty", dtype(R"("")"), {"'w'", "unknown dtype ''"}},
      {"DtypeThatWeLack", dtype(R"("F8_E8M0")"), {"'w'", "'F8_E8M0' is not supported"}, unsupported},
      // Shapes.
      {"ShapeIsANumber", shape("2"), {"'w'", "shape is 2", "array"}},
      {"ShapeIsAString", shape(R"("2")"), {"'w'", R"(shape is "2")", "array"}},
      {"ShapeIsNull", shape("null"), {"'w'", "shape is null", "array"}},
      {"DimensionNegative", shape("[2,-1]"), {"'w'", "dimension 1", "[2,-1]", "is -1"}},
      {"DimensionMinusZero", shape("[-0]"), {"'w'", "dimension 0"}},
      {"DimensionFloat", shape("[2.0]"), {"'w'", "dimension 0", "2.0"}},
      {"DimensionWithExponent", shape("[2e0]"), {"'w'", "dimension 0"}},
      {"DimensionString", shape(R"(["2"])"), {"'w'", "dimension 0", R"("2")"}},
      {"DimensionNull", shape("[null]"), {"'w'", "dimension 0", "null"}},
      {"DimensionTrue", shape("[true]"), {"'w'", "dimension 0", "true"}},
      {"DimensionArray", shape("[[2]]"), {"'w'", "dimension 0", "[2]"}},
      {"DimensionAboveInt64",
       shape("[9223372036854775808]"),
       {"'w'", "9223372036854775808", "9223372036854775807"}},
      {"DimensionAboveUint64", shape("[18446744073709551616]"), {"'w'", "dimension 0"}},
      {"DimensionOfManyDigits",
       shape("[" + std::string(500, '9') + "]"),
       {"not valid JSON", "number overflow"}},
      {"ProductOverflows", shape("[4294967296,4294967296]"), {"'w'", "[4294967296,4294967296]", "overflows"}},
      {"BytesOverflow", shape("[4611686018427387904]"), {"'w'", "[4611686018427387904]", "F32", "overflows"}},
      {"ProductOverflowsBehindAZero", shape("[0,4294967296,4294967296]"), {"'w'", "overflows"}},
      {"RankNine", shape("[1,1,1,1,1,1,1,1,2]"), {"'w'", "9 dimensions", "at most 8"}},
      {"ShapeTooLarge", shape("[3]"), {"'w'", "hold 8 bytes", "[3] of F32 needs 12"}},
      {"ShapeTooSmall", shape("[1]"), {"'w'", "hold 8 bytes", "[1] of F32 needs 4"}},
      {"ShapeEmptyWithData", shape("[0]"), {"'w'", "hold 8 bytes", "needs 0"}},
      {"ScalarWithTwoElements", shape("[]"), {"'w'", "hold 8 bytes", "[] of F32 needs 4"}},
      {"DtypeTooWide", dtype(R"("F64")"), {"'w'", "hold 8 bytes", "of F64 needs 16"}},
      // Offsets.
      {"OffsetsAreANumber", offsets("0"), {"'w'", "data_offsets is 0", "two integers"}},
      {"OffsetsAreNull", offsets("null"), {"'w'", "data_offsets is null"}},
      {"OffsetsEmpty", offsets("[]"), {"'w'", "data_offsets is []"}},
      {"OffsetsOne", offsets("[0]"), {"'w'", "data_offsets is [0]"}},
      {"OffsetsThree", offsets("[0,8,8]"), {"'w'", "data_offsets is [0,8,8]"}},
      {"OffsetsNegative", offsets("[-8,0]"), {"'w'", "data_offsets is [-8,0]", "0 to 8"}},
      {"OffsetsFloat", offsets("[0,8.0]"), {"'w'", "data_offsets is [0,8.0]"}},
      {"OffsetsStrings", offsets(R"(["0","8"])"), {"'w'", R"(data_offsets is ["0","8"])"}},
      {"OffsetsObject", offsets(R"({"0":0,"1":8})"), {"'w'", R"(data_offsets is {"0":0,"1":8})"}},
      {"OffsetsReversed", offsets("[8,0]"), {"'w'", "begin at 8", "end 0"}},
      {"OffsetsPastTheEnd", offsets("[4,12]"), {"'w'", "[4,12)", "8 bytes of data"}},
      {"OffsetsFarPastTheEnd",
       offsets("[18446744073709551608,18446744073709551615]"),
       {"'w'", "18446744073709551615", "8 bytes of data"}},
      {"OffsetsAboveUint64", offsets("[0,18446744073709551616]"), {"'w'", "data_offsets is [0,"}},
      // Layout.
      {"TensorsOverlap", two("[0,4]", "[2,6]", 8), {"'b'", "begins at 2", "'a' at [0,4)"}},
      {"TensorsShareTheirData", two("[0,4]", "[0,4]", 4), {"'b'", "begins at 0", "'a' at [0,4)"}},
      {"HoleBetweenTensors", two("[0,4]", "[5,9]", 9), {"'b'", "begins at 5", "ends at 4"}},
      {"HoleAtTheStart", two("[1,5]", "[5,9]", 9), {"'a'", "begins at 1", "ends at 0"}},
      {"BytesAfterTheLastTensor", two("[0,4]", "[4,8]", 9), {"cover 8", "holds 9"}},
      {"DataWithoutTensors", safetensors_bytes("{}", 1), {"cover 0", "holds 1"}},
      {"EmptyTensorInsideAnother",
       safetensors_bytes(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}})",
                         8),
       {"'e'", "begins at 4", "'w' at [0,8)"}},
      // Metadata.
      {"MetadataIsAString", metadata(R"("pt")"), {"__metadata__", R"("pt")", "object"}},
      {"MetadataIsNull", metadata("null"), {"__metadata__", "null", "object"}},
      {"MetadataIsAnArray", metadata(R"(["a"])"), {"__metadata__", R"(["a"])", "object"}},
      {"MetadataValueIsANumber", metadata(R"({"step":7})"), {"__metadata__", "'step'", "7", "string"}},
      {"MetadataValueIsAnObject", metadata(R"({"a":{}})"), {"__metadata__", "'a'", "{}", "string"}},
      {"MetadataKeyTwice", metadata(R"({"a":"1","a":"2"})"), {"'a'", "twice"}, invalid},
  };
}

class CorruptSafetensors : public testing::TestWithParam<Corruption> {};

TEST_P(CorruptSafetensors, IsRefusedWithTheFileAndBothValues) {
  const ScratchFolder folder;
  const std::string path = folder.write("bad.safetensors", GetParam().bytes);
  try {
    const SafetensorsFile file(path);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(GetParam().status)) << error.message();
    EXPECT_EQ(error.subject(), path);
    EXPECT_NE(error.message().find(path), std::string::npos) << error.message();
    for (const std::string& piece : GetParam().says) {
      EXPECT_NE(error.message().find(piece), std::string::npos)
          << "wanted: " << piece << "\ngot: " << error.message();
    }
    EXPECT_LT(error.message().size(), path.size() * 2 + 800) << "a message is not a dump of the file";
  }
}

INSTANTIATE_TEST_SUITE_P(Every, CorruptSafetensors, testing::ValuesIn(corruptions()),
                         [](const auto& corruption) { return std::string(corruption.param.name); });

TEST(SafetensorsRefusal, ShowsALongBinaryNameShortAndPrintable) {
  const ScratchFolder folder;
  const std::string name = R"(\u0001)" + std::string(5000, 'n');
  const std::string path = folder.write("bad.safetensors", safetensors_bytes("{\"" + name + "\":7}", 0));
  try {
    const SafetensorsFile file(path);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("'\\x01nnn"), std::string::npos) << error.message();
    EXPECT_LT(error.message().size(), path.size() + 300);
  }
}

TEST(SafetensorsRefusal, SaysThatTheFileIsMissing) {
  const ScratchFolder folder;
  try {
    const SafetensorsFile file(folder.file("absent.safetensors"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::file_not_found));
  }
}

}  // namespace
}  // namespace nanochat
