// nanochat export: files for other engines, and model directories.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "program_run.h"

namespace nanochat::test {
namespace {

std::string sha256(const std::string& path) {
  const ProgramRun run = run_script("sha256sum '" + path + "'");
  return run.out.substr(0, run.out.find(' '));
}

// tests/tools/check_gguf.py has shown that llama.cpp tells the golden story from these bytes.
TEST(Export, WritesTheBytesThatLlamaCppWasSeenToRead) {
  const ScratchFolder folder;
  const std::string file = folder.path("stories260K.gguf");
  const ProgramRun run = run_program({"export", "--model", story_model(), file});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(sha256(file), "4ed65dd9a56b6a00822cec9c3b48fdc1757296429e67652d4dc644a50f970cea");
}

TEST(Export, WritesHalfAsMuchInHalfTheWidth) {
  const ScratchFolder folder;
  for (const char* dtype : {"f32", "bf16", "f16"}) {
    ASSERT_EQ(
        run_program({"export", "--model", story_model(), "--dtype", dtype, folder.path(dtype)}).exit_code, 0);
  }
  EXPECT_LT(std::filesystem::file_size(folder.path("bf16")),
            std::filesystem::file_size(folder.path("f32")) * 6 / 10);
  EXPECT_EQ(std::filesystem::file_size(folder.path("bf16")), std::filesystem::file_size(folder.path("f16")));
}

TEST(Export, LeavesTheVocabularyOutIfAsked) {
  const ScratchFolder folder;
  const auto size_with = [&](const std::string& option) {
    const ProgramRun run = run_program({"export", "--model", story_model(), option, folder.path("a.gguf")});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return read_file(folder.path("a.gguf"));
  };
  EXPECT_NE(size_with("--no-progress").find("tokenizer.ggml.tokens"), std::string::npos);
  EXPECT_EQ(size_with("--no-tokenizer").find("tokenizer.ggml.tokens"), std::string::npos);
}

TEST(Export, OfASyntheticModelIsTheSameWhicheverWayItIsRounded) {
  const ScratchFolder folder;
  const auto exported = [&](const std::string& name, std::vector<std::string> options) {
    std::filesystem::create_directories(folder.path(name));
    options.insert(options.begin(), {"export", "--synthetic", "llama-d1"});
    options.push_back(folder.path(name + "/m.gguf"));
    const ProgramRun run = run_program(options);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return sha256(folder.path(name + "/m.gguf"));
  };
  EXPECT_EQ(exported("one", {"--dtype", "bf16"}), exported("again", {"--dtype", "bf16", "--threads", "1"}));
  EXPECT_NE(exported("one", {"--dtype", "bf16"}), exported("other", {"--dtype", "f16"}));
}

TEST(Export, WritesAModelDirectoryThatTellsTheSameStory) {
  const ScratchFolder folder;
  const ProgramRun run =
      run_program({"export", "--model", story_model(), "--format", "safetensors", folder.path("copy")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const ProgramRun told = run_program({"infer", "--model", folder.path("copy"), "--temperature", "0",
                                       "--max-tokens", std::to_string(golden_story().ids.size()), ""});
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_NE(golden_story().text.find(told.out.substr(0, 200)), std::string::npos) << told.out;
}

TEST(Export, RefusesByName) {
  const ScratchFolder folder;
  const std::string file = folder.path("a.gguf");
  const auto refused = [&](std::vector<std::string> arguments, const char* word, int exit_code) {
    arguments.insert(arguments.begin(), "export");
    const ProgramRun run = run_program(arguments);
    EXPECT_EQ(run.exit_code, exit_code) << run.err;
    EXPECT_NE(run.err.find(word), std::string::npos) << run.err;
    EXPECT_FALSE(std::filesystem::exists(file));
  };
  refused({"--synthetic", "v1-d1", file}, "nanochat-v1", 2);
  refused({file}, "--model or --synthetic", 1);
  refused({"--model", story_model(), "--synthetic", "llama-d1", file}, "--synthetic", 1);
  refused({"--model", story_model(), "--dtype", "int4", file}, "int4", 1);
  refused({"--model", story_model(), "--format", "onnx", file}, "onnx", 1);
  refused({"--model", story_model(), "--format", "safetensors", "--dtype", "f16", file}, "f16", 1);
  refused({"--model", story_model()}, "out", 1);
}

}  // namespace
}  // namespace nanochat::test
