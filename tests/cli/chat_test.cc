// nanochat chat with its input piped in.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program_run.h"

namespace nanochat::test {
namespace {

ProgramRun chat(std::string_view input, const char* max_tokens = "12") {
  return run_program({"chat", "--model", story_model(), "--max-tokens", max_tokens, "--temperature", "0"},
                     input);
}

TEST(Chat, AnswersOnStandardOutputAndSpeaksOfItselfOnStandardError) {
  const ProgramRun run = chat("Hello\n/stats\n/help\n/exit\nnever read\n");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_TRUE(run.out.ends_with('\n')) << run.out;
  EXPECT_EQ(run.out.find("/temperature"), std::string::npos);
  EXPECT_NE(run.err.find("no chat tokens"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("answers 1, context "), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("/temperature X"), std::string::npos) << run.err;
}

TEST(Chat, EndsWithItsInput) {
  EXPECT_EQ(chat("").exit_code, 0);
  EXPECT_EQ(chat("").out, "");
  EXPECT_EQ(chat("Hello").exit_code, 0);
}

TEST(Chat, SavesTheConversationItHad) {
  const ScratchFolder scratch;
  const ProgramRun run = chat("Hello\nAnd then?\n/save " + scratch.path("talk.json") + "\n");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto messages = nlohmann::json::parse(read_file(scratch.path("talk.json"))).at("messages");
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].at("role"), "user");
  EXPECT_EQ(messages[0].at("content"), "Hello");
  EXPECT_EQ(messages[2].at("content"), "And then?");
  EXPECT_EQ(messages[3].at("role"), "assistant");
  const std::string first = messages[1].at("content");
  const std::string second = messages[3].at("content");
  EXPECT_EQ(run.out, first + "\n" + second + "\n");
}

// What the session still holds of the first exchange must not change the answer after it is forgotten.
TEST(Chat, StartsAfreshAfterClear) {
  const std::string once = chat("Tell me\n").out;
  const ProgramRun again = chat("Lily\n/clear\nTell me\n");
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(again.out.ends_with(once)) << again.out;
}

// The second answer is computed on top of the session of the first; one that starts from nothing must agree.
TEST(Chat, ReusesItsSessionWithoutChangingTheAnswer) {
  const ScratchFolder scratch;
  const std::string both = chat("Tom\nAnna\n/save " + scratch.path("talk.json") + "\n").out;
  const auto messages = nlohmann::json::parse(read_file(scratch.path("talk.json"))).at("messages");
  const std::string prompt =
      "User: Tom\nAssistant: " + messages[1].at("content").get<std::string>() + "\nUser: Anna\nAssistant:";
  const ProgramRun direct = run_program({"infer", "--model", story_model(), "--max-tokens", "12",
                                         "--temperature", "0", "--stop", "\nUser:", prompt});
  EXPECT_EQ(direct.exit_code, 0) << direct.err;
  EXPECT_EQ(messages[3].at("content"), direct.out);
}

TEST(Chat, ForgetsTheOldestWhenTheContextIsFull) {
  std::string input;
  for (int i = 0; i < 30; ++i) input += "Lily saw a big red ball in the park and wanted to play\n";
  const ProgramRun run = chat(input, "40");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.err.find("the oldest 2 messages are forgotten"), std::string::npos) << run.err;
}

TEST(Chat, RefusesWhatItDoesNotKnowAndGoesOn) {
  const ProgramRun run =
      chat("/dance\n/temperature hot\n/topk 9999\n/save\n/save /no/such/folder/talk\n/topk 5\nHello\n");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_NE(run.err.find("there is no command '/dance'"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("'hot' is not a number from 0 to 2"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("'9999' is not a number from 0 to 200"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("/save needs a file name"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("/no/such/folder/talk"), std::string::npos) << run.err;
  EXPECT_NE(run.out, "");
}

TEST(Chat, FailsWithOneForAModelThatIsNotThere) {
  const ProgramRun run = run_program({"chat", "--model", "/no/such/model"}, "Hello\n");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
}

}  // namespace
}  // namespace nanochat::test
