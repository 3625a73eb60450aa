#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hash.h"
#include "unit/infer/small_models.h"
#include "unit/io/scratch_folder.h"

namespace nanochat::testing {
namespace {

// Where the header has what; see session_file.cc.
constexpr size_t kVersionAt = 8, kTokenCountAt = 32, kLogitCountAt = 40, kTokensHashAt = 56,
                 kHeaderHashAt = 104, kHeaderBytes = 112;

class SessionFileOn : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(SessionFileOn);

class SessionFile : public ::testing::Test {
 protected:
  Host host_;
  ScratchFolder folder_;
  std::shared_ptr<const Model> model_ = host_.load(kSmearing);
  std::string path_ = folder_.file("a.session");

  std::string saved(size_t n_tokens) {
    Session session(model_, 0);
    if (n_tokens > 0) append(session, some_tokens(*model_, n_tokens));
    session.save(path_);
    return file_bytes(path_);
  }

  std::unique_ptr<Session> load(const std::string& path, int64_t capacity = 0) {
    return Session::load(model_, path, capacity);
  }

  // Loads these bytes, which must be refused with a message that names the file.
  Status refusal(const std::string& bytes, const std::string& part = "") {
    std::filesystem::remove(folder_.file("b.session"));  // writing over a file waits for the disk
    folder_.write("b.session", bytes);
    try {
      load(folder_.file("b.session"));
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(folder_.file("b.session")), std::string::npos) << error.message();
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
      EXPECT_EQ(error.subject(), folder_.file("b.session"));
      return error.status();
    }
    return Status::ok;
  }

  // As somebody would who knows the format.
  static void put(std::string& bytes, size_t at, uint64_t value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  static void seal(std::string& bytes) {
    put(bytes, kHeaderHashAt, hash64(as_bytes(bytes).first(kHeaderHashAt)));
  }
};

TEST_P(SessionFileOn, GoesOnWithTheSameBits) {
  const ScratchFolder folder;
  const std::string path = folder.file("a.session");
  for (const std::string& directory : {kSmearing, kStories, kPlain}) {
    const auto model = Model::load(device_, directory, {}, {});
    const std::vector<int32_t> tokens = some_tokens(*model, 20);
    Session session(model, 0);
    append(session, std::span(tokens).first(10));
    session.save(path);
    const auto loaded = Session::load(model, path, 15);
    EXPECT_EQ(loaded->capacity(), 15);
    EXPECT_EQ(loaded->tokens(), session.tokens());
    EXPECT_EQ(logits_of(*loaded), logits_of(session));
    append(session, std::span(tokens).subspan(10, 5));
    append(*loaded, std::span(tokens).subspan(10, 5));
    EXPECT_EQ(logits_of(*loaded), logits_of(session));
  }
}

// Written by one device and read by another: the numbers of keys and values are the same, in every type.
TEST_P(SessionFileOn, GoesOnWhereTheHostEnded) {
  const ScratchFolder folder;
  const auto here = Model::load(make_device("reference"), kSmearing, {}, {}),
             there = Model::load(device_, kSmearing, {}, {});
  const std::vector<int32_t> tokens = some_tokens(*here, 80);
  for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
    Session session(here, 100, dtype);
    append(session, std::span(tokens).first(70));
    session.save(folder.file("a.session"));
    const auto loaded = Session::load(there, folder.file("a.session"), 100, dtype);
    EXPECT_EQ(logits_of(*loaded), logits_of(session));
    loaded->save(folder.file("b.session"));
    EXPECT_TRUE(file_bytes(folder.file("a.session")) == file_bytes(folder.file("b.session")));
    append(session, std::span(tokens).subspan(70));
    append(*loaded, std::span(tokens).subspan(70));
    const std::vector<float> expected = logits_of(session), got = logits_of(*loaded);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], expected[i], dtype == DType::f32 ? 1e-4F : 0.1F) << dtype_name(dtype);
    }
  }
}

TEST_F(SessionFile, KeepsAnEmptySession) {
  saved(0);
  const auto loaded = load(path_);
  EXPECT_EQ(loaded->length(), 0);
  EXPECT_TRUE(loaded->last_logits().empty());
}

TEST_F(SessionFile, KeepsATruncatedSession) {
  Session session(model_, 0);
  append(session, some_tokens(*model_, 8));
  session.truncate(5);
  session.save(path_);
  const auto loaded = load(path_);
  EXPECT_TRUE(loaded->last_logits().empty());
  loaded->restore_logits({});
  EXPECT_EQ(logits_of(*loaded), fresh_logits(model_, session.tokens()));
}

TEST_F(SessionFile, IsTheSameFileForTheSameSession) { EXPECT_EQ(saved(5), saved(5)); }

TEST_F(SessionFile, IsRefusedWhereverItIsCut) {
  const std::string bytes = saved(2);
  for (size_t n = 0; n < bytes.size(); ++n) {
    const Status status = refusal(bytes.substr(0, n));
    ASSERT_TRUE(status == Status::format_invalid || (n == 0 && status == Status::file_io))
        << n << " bytes: " << static_cast<int>(status);
  }
  EXPECT_EQ(refusal(bytes + '\0', std::to_string(bytes.size() + 1)), Status::format_invalid);
}

TEST_F(SessionFile, IsRefusedWhateverBitIsWrong) {
  const std::string bytes = saved(2);
  for (size_t i = 0; i < bytes.size() * 8; i += i < kHeaderBytes * 8 ? 1 : 13) {
    std::string damaged = bytes;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << i % 8));
    const Status status = refusal(damaged);
    const Status expected = i / 8 < kVersionAt       ? Status::format_invalid
                            : i / 8 < kVersionAt + 4 ? Status::version_mismatch
                                                     : Status::checksum_mismatch;
    ASSERT_EQ(status, expected) << "bit " << i;
  }
}

TEST_F(SessionFile, IsRefusedByAnotherModel) {
  saved(3);
  const auto other = host_.load(kPlain);
  try {
    Session::load(other, path_, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::checksum_mismatch);
    EXPECT_NE(error.message().find(model_->checksum().hex()), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(other->checksum().hex()), std::string::npos) << error.message();
  }
}

TEST_F(SessionFile, IsRefusedByTheSameModelWithOtherWeightTypes) {
  saved(3);
  const auto other = host_.load(kSmearing, {.weight_dtype = WeightDtype::bf16});
  EXPECT_EQ(status_of([&] { Session::load(other, path_, 0); }), Status::checksum_mismatch);
}

TEST_F(SessionFile, KeepsTheTypeOfItsKeysAndValues) {
  const std::vector<int32_t> tokens = some_tokens(*model_, 20);
  for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
    Session session(model_, 0, dtype);
    append(session, std::span(tokens).first(10));
    session.save(path_);
    append(session, std::span(tokens).subspan(10));
    for (const auto& asked : {std::optional<DType>(), std::optional(dtype)}) {
      const auto loaded = Session::load(model_, path_, 0, asked);
      EXPECT_EQ(loaded->kv_dtype(), dtype);
      append(*loaded, std::span(tokens).subspan(10));
      EXPECT_EQ(logits_of(*loaded), logits_of(session)) << dtype_name(dtype);
    }
  }
}

TEST_F(SessionFile, IsRefusedForKeysAndValuesOfAnotherType) {
  Session session(model_, 0, DType::bf16);
  append(session, some_tokens(*model_, 3));
  session.save(path_);
  try {
    Session::load(model_, path_, 0, DType::i8);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_NE(error.message().find("BF16"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("I8"), std::string::npos) << error.message();
  }
  std::string crafted = file_bytes(path_);
  crafted[14] = 7;
  seal(crafted);
  EXPECT_EQ(refusal(crafted, "type 7"), Status::format_invalid);
}

TEST_F(SessionFile, IsRefusedIfItDoesNotFit) {
  saved(6);
  try {
    load(path_, 5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::out_of_range);
    EXPECT_NE(error.message().find("6 tokens"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("capacity of 5"), std::string::npos) << error.message();
  }
  EXPECT_EQ(load(path_, 6)->length(), 6);
}

TEST_F(SessionFile, IsRefusedIfItIsNotThere) {
  EXPECT_EQ(status_of([&] { load(folder_.file("none")); }), Status::file_not_found);
  EXPECT_EQ(status_of([&] { Session::load(nullptr, path_, 0); }), Status::invalid_argument);
}

TEST_F(SessionFile, IsRefusedIfItStatesMoreThanItHas) {
  const std::string bytes = saved(2);
  for (const uint64_t count : {uint64_t{3}, uint64_t{1} << 40, uint64_t{1} << 62, ~uint64_t{0}}) {
    for (const size_t at : {kTokenCountAt, kLogitCountAt, kLogitCountAt + 8}) {
      std::string crafted = bytes;
      put(crafted, at, count);
      seal(crafted);
      EXPECT_EQ(refusal(crafted, std::to_string(bytes.size())), Status::format_invalid)
          << count << " at " << at;
    }
  }
}

TEST_F(SessionFile, IsRefusedIfItsTokensAreNotTheModels) {
  std::string crafted = saved(2);
  const int32_t token = static_cast<int32_t>(model_->config().vocab_size);
  std::memcpy(crafted.data() + kHeaderBytes + 4, &token, sizeof token);
  const Hash128 hash = hash128(as_bytes(crafted).subspan(kHeaderBytes, 8));
  put(crafted, kTokensHashAt, hash.low);
  put(crafted, kTokensHashAt + 8, hash.high);
  seal(crafted);
  EXPECT_EQ(refusal(crafted, "token 1 is " + std::to_string(token)), Status::format_invalid);
}

TEST_F(SessionFile, IsTheOldOneOrTheNewOneWhateverFails) {
  const std::string old = saved(2);
  Session session(model_, 0);
  append(session, some_tokens(*model_, 5));
  int n_failed = 0;
  for (int n = 0;; ++n) {
    int i = 0;
    set_file_fault([&](const char*, const std::string&) { return i++ == n ? 5 : 0; });
    const Status status = status_of([&] { session.save(path_); });
    set_file_fault({});
    if (i <= n) break;  // there was no n-th call
    n_failed += status != Status::ok ? 1 : 0;
    EXPECT_TRUE(status == Status::ok || status == Status::file_io) << "call " << n;
    const int64_t length = load(path_)->length();
    EXPECT_TRUE(length == 2 || length == 5) << "call " << n;
  }
  EXPECT_GE(n_failed, 4);
  EXPECT_EQ(load(path_)->length(), 5);
}

TEST_F(SessionFile, LeavesNothingBehindIfMemoryFails) {
  saved(5);
  const uint64_t used = host_.device->memory().stats().used_bytes;
  host_.device->memory().reclaim();
  host_.raw->ask([] { return false; });
  EXPECT_NE(status_of([&] { load(path_); }), Status::ok);
  host_.raw->ask({});
  EXPECT_EQ(host_.device->memory().stats().used_bytes, used);
}

}  // namespace
}  // namespace nanochat::testing
