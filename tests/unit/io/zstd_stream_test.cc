#include "io/zstd_stream.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "base/error.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

constexpr uint64_t kNoLimit = uint64_t{1} << 40;

std::string text_of(size_t n) {
  std::string out;
  for (size_t i = 0; out.size() < n; ++i) out += "line " + std::to_string(i * i % 7919) + "\n";
  return out.substr(0, n);
}

std::string decompress(std::string_view bytes, uint64_t max_bytes = kNoLimit) {
  return decompress_zstd(as_bytes(bytes), "test.zst", max_bytes);
}

void expect_refusal(std::string_view bytes, Status status, const std::vector<std::string>& says,
                    uint64_t max_bytes = kNoLimit) {
  try {
    const std::string out = decompress(bytes, max_bytes);
    ADD_FAILURE() << "accepted: " << out.size() << " bytes";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(status)) << error.message();
    EXPECT_EQ(error.subject(), "test.zst");
    for (const std::string& piece : says) {
      EXPECT_NE(error.message().find(piece), std::string::npos)
          << "wanted: " << piece << "\ngot: " << error.message();
    }
  }
}

// A skippable frame of RFC 8878, section 3.1.2.
std::string skippable_frame(std::string_view content) {
  std::string out = "\x53\x2a\x4d\x18";
  for (size_t i = 0; i < 4; ++i) out += static_cast<char>(content.size() >> (8 * i));
  return out + std::string(content);
}

// Frame header with magic, descriptor 0 (no content size, no checksum) and a window of 2^(10 + exponent)
// bytes, then one last raw block.
std::string frame_with_window(int exponent, std::string_view content) {
  std::string out = "\x28\xb5\x2f\xfd";
  out += '\0';
  out += static_cast<char>(exponent << 3);
  const size_t block = content.size() << 3 | 1;
  for (size_t i = 0; i < 3; ++i) out += static_cast<char>(block >> (8 * i));
  return out + std::string(content);
}

TEST(Zstd, RoundTripsEverySize) {
  for (const size_t n : {0, 1, 7, 1000, 131'071, 131'072, 131'073, 1'000'000}) {
    const std::string text = text_of(n);
    EXPECT_EQ(decompress(compress_zstd(as_bytes(text))), text) << n;
  }
}

TEST(Zstd, RoundTripsAtEveryLevel) {
  const std::string text = text_of(200'000);
  for (const int level : {-5, 1, 3, 9, 19, 22})
    EXPECT_EQ(decompress(compress_zstd(as_bytes(text), level)), text) << level;
}

TEST(Zstd, ReadsWhatTheCommandLineToolWrote) {
  const std::string path = std::string(NANOCHAT_TEST_DATA) + "/zstd/numbers.txt.zst";
  std::string expected;
  for (int i = 1; i <= 20'000; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(read_text_file(path, kNoLimit), expected);
}

TEST(Zstd, GivesPiecesInOrder) {
  const std::string text = text_of(1'000'000);
  std::string joined;
  size_t n_pieces = 0, largest = 0;
  decompress_zstd(as_bytes(compress_zstd(as_bytes(text))), "test.zst", kNoLimit,
                  [&](std::span<const std::byte> piece) {
                    joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                    ++n_pieces;
                    largest = std::max(largest, piece.size());
                  });
  EXPECT_EQ(joined, text);
  EXPECT_GT(n_pieces, 1U);
  EXPECT_LE(largest, size_t{1} << 20) << "a piece is bounded whatever the stream's length";
}

TEST(Zstd, TakesSeveralFramesAsOneStream) {
  const std::string one = text_of(300'000), two = text_of(5), empty;
  const std::string stream =
      compress_zstd(as_bytes(one)) + compress_zstd(as_bytes(empty)) + compress_zstd(as_bytes(two));
  EXPECT_EQ(decompress(stream), one + two);
}

TEST(Zstd, SkipsSkippableFrames) {
  const std::string text = text_of(1000);
  const std::string stream = skippable_frame("index") + compress_zstd(as_bytes(text)) + skippable_frame("");
  EXPECT_EQ(decompress(stream), text);
  EXPECT_EQ(decompress(skippable_frame("only")), "");
}

TEST(Zstd, RefusesEmptyInput) { expect_refusal("", Status::format_invalid, {"test.zst", "empty"}); }

TEST(Zstd, RefusesEveryTruncation) {
  const std::string whole = compress_zstd(as_bytes(text_of(3000)));
  for (size_t n = 1; n < whole.size(); ++n) {
    expect_refusal(whole.substr(0, n), Status::format_invalid,
                   {"test.zst", "at byte " + std::to_string(n) + " of " + std::to_string(n), "cut short"});
  }
}

TEST(Zstd, RefusesATruncatedSecondFrame) {
  const std::string frame = compress_zstd(as_bytes(text_of(100)));
  expect_refusal(frame + frame.substr(0, 3), Status::format_invalid, {"cut short"});
  expect_refusal(skippable_frame("12345").substr(0, 10), Status::format_invalid, {"cut short"});
}

// The checksum is the last word: no flip may go through with other text.
TEST(Zstd, RefusesOrSurvivesEveryByteFlip) {
  const std::string text = text_of(2000);
  const std::string whole = compress_zstd(as_bytes(text));
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x55);
    try {
      EXPECT_EQ(decompress(flipped), text) << "byte " << i;
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.status()), static_cast<int>(Status::format_invalid))
          << error.message();
    }
  }
}

TEST(Zstd, RefusesTextThatIsNoFrame) {
  expect_refusal("hello, world", Status::format_invalid, {"at byte 0 of 12"});
  const std::string frame = compress_zstd(as_bytes(text_of(100)));
  expect_refusal(frame + "hello", Status::format_invalid, {"of " + std::to_string(frame.size() + 5)});
}

TEST(Zstd, StopsABombAtTheLimit) {
  const std::string bomb = compress_zstd(as_bytes(std::string(64 << 20, '\0')));
  ASSERT_LT(bomb.size(), 10'000U);
  uint64_t delivered = 0;
  const auto count = [&](std::span<const std::byte> piece) { delivered += piece.size(); };
  EXPECT_THROW(decompress_zstd(as_bytes(bomb), "test.zst", 1 << 20, count), Error);
  EXPECT_LE(delivered, uint64_t{1} << 20);
  expect_refusal(bomb, Status::out_of_range, {"test.zst", "more than 1000 bytes"}, 1000);
}

TEST(Zstd, AllowsExactlyTheLimit) {
  const std::string text = text_of(500'000), frame = compress_zstd(as_bytes(text));
  EXPECT_EQ(decompress(frame, text.size()), text);
  expect_refusal(frame, Status::out_of_range, {"more than 499999"}, text.size() - 1);
  EXPECT_EQ(decompress(compress_zstd({}), 0), "");
}

TEST(Zstd, RefusesAWindowAbove128MiB) {
  EXPECT_EQ(decompress(frame_with_window(17, "abc")), "abc");
  expect_refusal(frame_with_window(18, "abc"), Status::format_invalid, {"window above 134217728"});
  expect_refusal(frame_with_window(31, "abc"), Status::format_invalid, {"test.zst"});
}

TEST(Zstd, PassesOnWhatTheSinkThrows) {
  const std::string frame = compress_zstd(as_bytes(text_of(10)));
  EXPECT_THROW(
      decompress_zstd(as_bytes(frame), "test.zst", kNoLimit, [](auto) { throw Error(Status::cancelled); }),
      Error);
}

TEST(ReadTextFile, DecompressesByTheNameOnly) {
  const ScratchFolder folder;
  const std::string frame = compress_zstd(as_bytes("hello"));
  EXPECT_EQ(read_text_file(folder.write("a.txt.zst", frame), 100), "hello");
  EXPECT_EQ(read_text_file(folder.write("a.txt", frame), 100), frame);
  EXPECT_THROW(read_text_file(folder.write("b.zst", "hello"), 100), Error);
  EXPECT_THROW(read_text_file(folder.write("c.txt", "hello"), 4), Error);
  EXPECT_THROW(read_text_file(folder.write("d.zst", frame), 4), Error);
  EXPECT_THROW(read_text_file(folder.file("absent.zst"), 100), Error);
}

}  // namespace
}  // namespace nanochat
