#include "infer/tool_use.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "unit/infer/scripted_source.h"

namespace nanochat {
namespace {

using testing::byte_tokenizer;

constexpr TokenId kPythonStart = 261, kPythonEnd = 262, kOutputStart = 263, kOutputEnd = 264;

void push_text(CalculatorTool& tool, std::string_view text) {
  for (const char c : text) tool.push(static_cast<uint8_t>(c));
}

std::vector<TokenId> take_all(CalculatorTool& tool) {
  std::vector<TokenId> ids;
  while (tool.has_forced()) ids.push_back(tool.take_forced());
  return ids;
}

std::vector<TokenId> answer_to(std::string_view expression) {
  CalculatorTool tool(byte_tokenizer());
  tool.push(kPythonStart);
  push_text(tool, expression);
  tool.push(kPythonEnd);
  return take_all(tool);
}

TEST(CalculatorTool, ForcesTheResultBetweenOutputTokens) {
  EXPECT_EQ(answer_to("12*3"), (std::vector<TokenId>{kOutputStart, '3', '6', kOutputEnd}));
}

TEST(CalculatorTool, ForcesNothingWithoutAResult) {
  EXPECT_TRUE(answer_to("").empty());
  EXPECT_TRUE(answer_to("import os").empty());
  EXPECT_TRUE(answer_to("1/0").empty());
}

TEST(CalculatorTool, ForcesNothingOutsideABlock) {
  CalculatorTool tool(byte_tokenizer());
  push_text(tool, "1+1");
  tool.push(kPythonEnd);
  EXPECT_FALSE(tool.has_forced());
}

TEST(CalculatorTool, StartsABlockAgainAtAnotherStart) {
  CalculatorTool tool(byte_tokenizer());
  tool.push(kPythonStart);
  push_text(tool, "77");
  tool.push(kPythonStart);
  push_text(tool, "1+1");
  tool.push(kPythonEnd);
  EXPECT_EQ(take_all(tool), (std::vector<TokenId>{kOutputStart, '2', kOutputEnd}));
}

TEST(CalculatorTool, AnswersOneBlockAfterAnother) {
  CalculatorTool tool(byte_tokenizer());
  for (const char digit : {'1', '2'}) {
    tool.push(kPythonStart);
    tool.push(digit);
    tool.push(kPythonEnd);
    const std::vector<TokenId> forced = take_all(tool);
    EXPECT_EQ(forced, (std::vector<TokenId>{kOutputStart, digit, kOutputEnd}));
    for (const TokenId token : forced) tool.push(token);
  }
}

TEST(CalculatorTool, ForgetsWhatNoCalculatorReads) {
  EXPECT_TRUE(answer_to(std::string(100000, '1')).empty());
}

TEST(CalculatorTool, ForcesNothingForATokenNobodyKnows) {
  CalculatorTool tool(byte_tokenizer());
  for (const TokenId token : {kPythonStart, TokenId{'1'}, TokenId{100000}, kPythonEnd}) tool.push(token);
  EXPECT_FALSE(tool.has_forced());
}

TEST(CalculatorTool, NamesTheSpecialTokenThatIsMissing) {
  try {
    CalculatorTool tool(byte_tokenizer({}, {"<|python_start|>", "<|python_end|>", "<|output_end|>"}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::unsupported);
    EXPECT_NE(error.message().find("<|output_start|>"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace nanochat
