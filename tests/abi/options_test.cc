// Old program with a new library, new program with an old one: what struct_size promises.
#include <nanochat.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

namespace {

struct Failure {
  nanochat_error* error = nullptr;
  ~Failure() { nanochat_error_free(error); }
  std::string message() const { return nanochat_error_message(error); }
};

// A struct of a later release: ours, then fields this library has never heard of.
struct LongerRuntimeOptions {
  nanochat_runtime_options known;
  uint64_t unknown[4];
};

nanochat_status create(const nanochat_runtime_options* options, Failure& failure) {
  nanochat_runtime* runtime = nullptr;
  const nanochat_status status = nanochat_runtime_create(options, &runtime, &failure.error);
  EXPECT_EQ(runtime != nullptr, status == NANOCHAT_OK);
  nanochat_runtime_free(runtime);
  return status;
}

TEST(Options, NullMeansDefaults) {
  Failure failure;
  EXPECT_EQ(create(nullptr, failure), NANOCHAT_OK);
}

TEST(Options, ALongerStructWithAZeroTailIsAccepted) {
  LongerRuntimeOptions longer{};
  longer.known.struct_size = sizeof longer;
  longer.known.n_threads = 1;
  Failure failure;
  EXPECT_EQ(create(&longer.known, failure), NANOCHAT_OK) << failure.message();
}

TEST(Options, ALongerStructWithANonZeroTailIsRefusedByName) {
  for (size_t i = 0; i < 4; ++i) {
    LongerRuntimeOptions longer{};
    longer.known.struct_size = sizeof longer;
    longer.unknown[i] = 1;
    Failure failure;
    EXPECT_EQ(create(&longer.known, failure), NANOCHAT_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(failure.message().find("nanochat_runtime_options"), std::string::npos) << failure.message();
    const std::string offset = std::to_string(sizeof(nanochat_runtime_options) + 8 * i);
    EXPECT_NE(failure.message().find(offset), std::string::npos) << failure.message();
  }
}

TEST(Options, AStructShorterThanTheFirstReleaseIsRefusedWithBothSizes) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{8}, size_t{104}, size_t{113}, size_t{1} << 40, SIZE_MAX}) {
    nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
    options.struct_size = size;
    Failure failure;
    EXPECT_EQ(create(&options, failure), NANOCHAT_STATUS_INVALID_ARGUMENT) << size;
    EXPECT_NE(failure.message().find(std::to_string(size)), std::string::npos) << failure.message();
  }
}

TEST(Options, InitFillsExactlyTheSizeItIsGiven) {
  unsigned char bytes[sizeof(nanochat_runtime_options) + 16];
  std::memset(bytes, 0xee, sizeof bytes);
  const size_t size = sizeof(nanochat_runtime_options) + 8;
  nanochat_runtime_options_init(reinterpret_cast<nanochat_runtime_options*>(bytes), size);
  size_t written = 0;
  std::memcpy(&written, bytes, sizeof written);
  EXPECT_EQ(written, size);
  for (size_t i = sizeof written; i < size; ++i) EXPECT_EQ(bytes[i], 0) << i;
  for (size_t i = size; i < sizeof bytes; ++i) EXPECT_EQ(bytes[i], 0xee) << i;
  nanochat_runtime_options_init(nullptr, size);
}

TEST(Info, AnOlderStructIsFilledAsFarAsItGoes) {
  nanochat_runtime* runtime = nullptr;
  ASSERT_EQ(nanochat_runtime_create(nullptr, &runtime, nullptr), NANOCHAT_OK);
  struct {
    nanochat_memory_info known;
    uint64_t unknown[2];
  } longer;
  std::memset(&longer, 0xee, sizeof longer);
  longer.known.struct_size = sizeof longer;
  EXPECT_EQ(nanochat_runtime_memory(runtime, &longer.known, nullptr), NANOCHAT_OK);
  EXPECT_EQ(longer.known.struct_size, sizeof longer);
  EXPECT_EQ(longer.unknown[0], 0U);
  EXPECT_EQ(longer.unknown[1], 0U);
  EXPECT_GT(longer.known.device_total_bytes, 0U);
  longer.known.struct_size = 8;
  EXPECT_EQ(nanochat_runtime_memory(runtime, &longer.known, nullptr), NANOCHAT_STATUS_INVALID_ARGUMENT);
  EXPECT_GT(longer.known.device_total_bytes, 0U);  // untouched
  nanochat_runtime_free(runtime);
}

}  // namespace
