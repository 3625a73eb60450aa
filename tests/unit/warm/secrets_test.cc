#include <chrono>
#include <cstdint>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "warm/diagnostics.h"

namespace nanochat {
namespace {

// None of these ever opened anything. Written in two pieces, so that no scanner of sources takes them for
// real.
const std::string kHub = std::string("hf_") + "abcdefghijklmnopqrstuvwxyzABCDEFGH";
const std::string kModelService = std::string("sk-") + "proj-Ab3_dEfGhIjKlMnOpQrStUvWxYz0123456789";
const std::string kForge = std::string("ghp_") + "0123456789abcdefghijABCDEFGHIJ012345";
const std::string kCloud = std::string("AKIA") + "IOSFODNN7EXAMPLE";

TEST(MaskSecrets, ReplacesTokensThatAreKnownByTheirBeginning) {
  for (const std::string& token : {kHub, kModelService, kForge, kCloud}) {
    EXPECT_EQ(mask_secrets(token), "***");
    EXPECT_EQ(mask_secrets("cannot open " + token + ": refused"), "cannot open ***: refused");
    EXPECT_EQ(mask_secrets("(" + token + ")"), "(***)");
    EXPECT_EQ(mask_secrets("/srv/" + token + "/model"), "/srv/***/model");
    EXPECT_EQ(mask_secrets("cache-" + token), "cache-***");
  }
  for (const char* const prefix : {"gho_", "ghu_", "ghs_", "ghr_"}) {
    EXPECT_EQ(mask_secrets(prefix + kForge.substr(4)), "***");
  }
}

TEST(MaskSecrets, ReplacesWhatIsBorne) {
  EXPECT_EQ(mask_secrets("Authorization: Bearer abc.def-ghi_~+/="), "Authorization: Bearer ***");
  EXPECT_EQ(mask_secrets("sent bearer abc123 to it"), "sent bearer *** to it");
  EXPECT_EQ(mask_secrets("Authorization: Basic dXNlcjpwYXNz"), "Authorization: Basic ***");
  EXPECT_EQ(mask_secrets("{\"authorization\":\"Bearer abc\"}"), "{\"authorization\":\"***\"}");
}

TEST(MaskSecrets, ReplacesTheUserAndThePasswordOfAUrl) {
  EXPECT_EQ(mask_secrets("https://me:s3cret@host/path"), "https://***@host/path");
  EXPECT_EQ(mask_secrets("postgres://me:p@ss@host:5432/db?x=1"), "postgres://***@host:5432/db?x=1");
  EXPECT_EQ(mask_secrets("https://" + kForge + "@host"), "https://***@host");
  EXPECT_EQ(mask_secrets("see https://host/a@b"), "see https://host/a@b");
}

TEST(MaskSecrets, ReplacesTheValuesOfSecretKeys) {
  const std::pair<const char*, const char*> cases[] = {
      {"token=abc", "token=***"},
      {"HF_TOKEN=abc PATH=/bin", "HF_TOKEN=*** PATH=/bin"},
      {"password: hunter2, then", "password: ***, then"},
      {"password = 'two words'", "password = '***'"},
      {"\"api_key\": \"a\\\"b\", \"n\": 1", "\"api_key\": \"***\", \"n\": 1"},
      {"'secret':'x'", "'secret':'***'"},
      {"{\\\"token\\\": \\\"abc\\\", \\\"n\\\": 1}", "{\\\"token\\\": \\\"***\\\", \\\"n\\\": 1}"},
      {"apiKey=a&accessToken=b&page=3", "apiKey=***&accessToken=***&page=3"},
      {"client_secret=a", "client_secret=***"},
      {"AWS_SECRET_ACCESS_KEY=a/b+c", "AWS_SECRET_ACCESS_KEY=***"},
      {"--token abc --n 3", "--token *** --n 3"},
      {"--api-key=abc", "--api-key=***"},
      {"PASSWORD=1234", "PASSWORD=***"},
      {"X-Api-Key: abc", "X-Api-Key: ***"},
      {"https://h/?token=abc&x=1", "https://h/?token=***&x=1"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(mask_secrets(text), expected);
}

TEST(MaskSecrets, LeavesOrdinaryTextAlone) {
  const char* const texts[] = {
      "",
      "/srv/models/e5-large-v2/model.safetensors",
      "models--hf_transformers-cache/snapshots",
      "sk-learn-contrib/models",
      "checksum 0123456789abcdef0123456789abcdef, expected fedcba9876543210fedcba9876543210",
      "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      "tensor 'encoder.layer.0.attention.key.weight': shape [2,3], expected [3,2]",
      "max_tokens: 512, n_tokens=17, tokenizer=/srv/tok, tokenizer_path: a/b",
      "unknown token: 50257",
      "key: E1_Semantic, keys = 3, key.weight=12",
      "Model file missing: E5_Causal not found at /srv/models/causal",
      "the password is wrong; the secret stays; a token too",
      "0x00007f8a00000000, 2026-01-03T12:00:00.250Z, 24.00GB",
      "https://example.org/a?b=c#d",
      "Grüße, 世界: 🙂",
  };
  for (const char* const text : texts) EXPECT_EQ(mask_secrets(text), text);
}

TEST(MaskSecrets, MasksADocumentByItsKeysAndItsTexts) {
  const Json document = parse_json(
      R"({"password":"x","max_tokens":5,"list":["token=abc",{"hf_token":"q","path":"/a/b"}],"n":null})",
      "test");
  EXPECT_EQ(
      write_json(mask_secrets_in(document)),
      R"({"password":"***","max_tokens":5,"list":["token=***",{"hf_token":"***","path":"/a/b"}],"n":null})");
}

// Texts of the pieces that rules look at, and of any bytes. A token is no part of a longer word.
std::string random_text(const CounterRandom& random, uint64_t& i, bool is_any) {
  const std::string pieces[] = {
      "/" + kHub, " " + kCloud, "token", "password", "=",      ":", " ",   "\"",  "'",     "\\",
      "://",      "@",          "/",     "-",        "Bearer", "_", "hf_", "sk-", "api",   "key",
      "&",        "\n",         "***",   "--token",  "{",      "[", "é",   "a1",  "Basic", ","};
  std::string text;
  const uint64_t n = random.bits(i++) % 24;
  for (uint64_t k = 0; k < n; ++k) {
    const uint64_t bits = random.bits(i++);
    if (is_any) {
      text += static_cast<char>(bits & 0xff);
    } else {
      text += pieces[bits % std::size(pieces)];
    }
  }
  return text;
}

TEST(MaskSecrets, TakesAnyBytesKeepsValidTextValidAndNeverLeavesAKnownToken) {
  const CounterRandom random(7, 0);
  uint64_t i = 0;
  for (int round = 0; round < 40'000; ++round) {
    const std::string text = random_text(random, i, round % 2 == 0);
    const std::string masked = mask_secrets(text);
    EXPECT_TRUE(!is_valid_utf8(text) || is_valid_utf8(masked)) << text;
    EXPECT_EQ(masked.find(kHub.substr(3)), std::string::npos) << text;
    EXPECT_LE(masked.size(), text.size() * 3 + 3);
  }
}

TEST(MaskSecrets, TakesALinearTime) {
  const auto seconds = [](const std::string& text) {
    const std::clock_t begin = std::clock();
    EXPECT_LE(mask_secrets(text).size(), text.size() * 3 + 3);
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  for (const std::string piece :
       {"hf_", "token ", "token\\", "token'", "://", "Bearer ", "password: ", "a", "-sk-", "token=[", "\\"}) {
    std::string text;
    while (text.size() < size_t{1} << 20) text += piece;
    EXPECT_LT(seconds(text), 5.0) << piece;  // a quadratic one takes an hour
  }
}

TEST(FormatBytes, HasTwoDecimalsAndStepsOf1024) {
  const std::pair<uint64_t, const char*> cases[] = {
      {0, "0B"},
      {512, "512B"},
      {1023, "1023B"},
      {1024, "1.00KB"},
      {1536, "1.50KB"},
      {uint64_t{1} << 20, "1.00MB"},
      {(uint64_t{1} << 20) - 1, "1.00MB"},
      {uint64_t{3} << 29, "1.50GB"},
      {uint64_t{24} << 30, "24.00GB"},
      {uint64_t{1} << 40, "1.00TB"},
      {~uint64_t{0}, "16.00EB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(format_bytes(bytes), text) << bytes;
}

}  // namespace
}  // namespace nanochat
