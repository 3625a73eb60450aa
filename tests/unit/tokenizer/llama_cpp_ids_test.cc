// The texts and ids that llama.cpp tests its tokenizers with. It adds no special tokens there.
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

std::vector<std::string> llama_cpp_texts() {
  constexpr std::string_view kMark = "\n__ggml_vocab_test__\n";
  const std::string all = read_file(sample_path("llama.cpp/ggml-vocab.inp"));
  std::vector<std::string> texts;
  size_t begin = 0;
  for (size_t end; (end = all.find(kMark, begin)) != std::string::npos; begin = end + kMark.size()) {
    texts.push_back(all.substr(begin, end - begin));
  }
  return texts;
}

std::vector<std::vector<TokenId>> llama_cpp_ids(const std::string& name) {
  std::istringstream lines(read_file(sample_path("llama.cpp/ggml-vocab-" + name + ".out")));
  std::vector<std::vector<TokenId>> all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    std::vector<TokenId> ids;
    for (TokenId id; numbers >> id;) ids.push_back(id);
    all.push_back(ids);
  }
  return all;
}

void expect_llama_cpp_ids(const char* file, const char* vectors) {
  const auto tokenizer = load_tokenizer(sample_path(std::string("files/") + file + ".tokenizer.json.zst"));
  const auto texts = llama_cpp_texts();
  const auto ids = llama_cpp_ids(vectors);
  ASSERT_EQ(texts.size(), ids.size());
  ASSERT_EQ(texts.size(), 46u);
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(tokenizer->encode(texts[i]), ids[i]) << texts[i];
}

TEST(LlamaCppIds, AreOursForGpt2) { expect_llama_cpp_ids("gpt2", "gpt-2"); }
TEST(LlamaCppIds, AreOursForPhi3) { expect_llama_cpp_ids("phi-3", "phi-3"); }
TEST(LlamaCppIds, AreOursForFalcon) { expect_llama_cpp_ids("falcon", "falcon"); }

}  // namespace
}  // namespace nanochat
