// The reference engine's generation loop with a scripted model
// (tests/data/golden/sampling/engine_tool_use.json).
//
// One row of its batch is one generation here, with the row's number as stream. Its script counts the tokens
// after the prompt, forced ones too, so that the logits are a function of the sequence's length. The file's
// model computes the first step once for all rows, from row 0's script: every row's script begins with that
// token, so a row that samples for itself gives the same. The engine goes on with rows that have ended until
// all have; those tokens are not results and are not compared.
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "unit/infer/generation_run.h"

namespace nanochat::testing {
namespace {

using json = nlohmann::ordered_json;

const std::string kGolden = NANOCHAT_TEST_DATA "/golden/";

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::shared_ptr<const Tokenizer> golden_tokenizer(const std::string& name) {
  const std::string path = kGolden + "tokenizer/" + name + "/tokenizer.json";
  const json document = json::parse(read_file(path));
  std::vector<std::string> token_bytes;
  for (const json& hex : document.at("tokens_hex")) token_bytes.push_back(from_hex(hex.get<std::string>()));
  std::vector<SpecialToken> specials;
  for (const auto& [text, id] : document.at("special_tokens").items())
    specials.push_back({text, id.get<TokenId>()});
  return make_byte_bpe(std::move(token_bytes), SplitPattern::nanochat, std::move(specials));
}

TEST(EngineGolden, EveryRowSaysWhatTheReferenceSays) {
  const std::string path = kGolden + "sampling/engine_tool_use.json";
  const json document = json::parse(read_file(path));
  const auto tokenizer = golden_tokenizer(document.at("tokenizer").get<std::string>());
  for (const json& golden : document.at("cases")) {
    const auto prompt = golden.at("prompt").get<std::vector<int32_t>>();
    const auto columns = golden.at("token_columns").get<std::vector<std::vector<int32_t>>>();
    const auto masks = golden.at("mask_columns").get<std::vector<std::vector<int>>>();
    for (size_t row = 0; row < golden.at("scripted_rows").size(); ++row) {
      SCOPED_TRACE(golden.at("scripted_rows").at(row).dump());
      const auto script = golden.at("scripted_rows").at(row).get<std::vector<int32_t>>();
      const auto source = std::make_shared<ScriptedSource>(
          tokenizer->vocab_size(), 1000, say(script, tokenizer->vocab_size(), prompt.size()));
      GenerationOptions options;
      options.sampler.stream = row;
      options.max_tokens = golden.at("max_tokens").get<int64_t>();
      options.tools = Tools::calculator;
      GenerationLoop loop(source, tokenizer, prompt, options);
      const Output output = run_to_end(loop);

      std::vector<int32_t> result = prompt;
      std::vector<int> mask(prompt.size(), 0);
      ASSERT_LE(output.tokens.size(), columns.size());
      for (size_t step = 0; step < output.tokens.size(); ++step) {
        EXPECT_EQ(output.tokens[step], columns[step][row]) << "step " << step;
        EXPECT_EQ(output.forced[step], masks[step][row] == 0) << "step " << step;
        const bool is_end = output.finish == Finish::stop && step + 1 == output.tokens.size();
        if (is_end) continue;
        result.push_back(output.tokens[step]);
        mask.push_back(output.forced[step] ? 0 : 1);
      }
      EXPECT_EQ(result, golden.at("batch_results").at(row).get<std::vector<int32_t>>());
      EXPECT_EQ(mask, golden.at("batch_masks").at(row).get<std::vector<int>>());
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
