#include "program_run.h"

#include <csignal>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace nanochat::test {
namespace {

// Output goes to files, except where a test has to watch it come.
struct Started {
  pid_t process = -1;
  int out_pipe = -1;
};

Started start(const std::vector<std::string>& command, const ScratchFolder& scratch, bool watched) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  int pipe_ends[2] = {-1, -1};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, scratch.path("in").c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, scratch.path("err").c_str(), O_WRONLY | O_CREAT,
                                   0600);
  if (watched) {
    EXPECT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, scratch.path("out").c_str(), O_WRONLY | O_CREAT,
                                     0600);
  }
  Started started;
  EXPECT_EQ(posix_spawn(&started.process, words[0], &actions, nullptr, words.data(), environ), 0) << words[0];
  posix_spawn_file_actions_destroy(&actions);
  if (watched) close(pipe_ends[1]);
  started.out_pipe = pipe_ends[0];
  return started;
}

int wait_for(pid_t process) {
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ProgramRun run(const std::vector<std::string>& command, std::string_view input) {
  const ScratchFolder scratch;
  scratch.write("in", input);
  ProgramRun result;
  result.exit_code = wait_for(start(command, scratch, false).process);
  result.out = read_file(scratch.path("out"));
  result.err = read_file(scratch.path("err"));
  return result;
}

std::vector<std::string> with_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {NANOCHAT_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

}  // namespace

ProgramRun run_program(const std::vector<std::string>& arguments, std::string_view input) {
  return run(with_program(arguments), input);
}

ProgramRun run_script(const std::string& script) {
  return run({"/bin/bash", "-c", "nanochat='" NANOCHAT_PROGRAM "'; " + script}, {});
}

ProgramRun interrupt_program(const std::vector<std::string>& arguments, int signal) {
  const ScratchFolder scratch;
  scratch.write("in", {});
  const Started started = start(with_program(arguments), scratch, true);
  ProgramRun result;
  char bytes[4096];
  for (ssize_t n = 0; (n = read(started.out_pipe, bytes, result.out.empty() ? 1 : sizeof bytes)) > 0;) {
    if (result.out.empty()) kill(started.process, signal);
    result.out.append(bytes, static_cast<size_t>(n));
  }
  close(started.out_pipe);
  result.exit_code = wait_for(started.process);
  result.err = read_file(scratch.path("err"));
  return result;
}

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "nanochat-cli-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  folder_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::string ScratchFolder::write(const std::string& name, std::string_view bytes) const {
  std::ofstream(path(name), std::ios::binary) << bytes;
  return path(name);
}

std::string read_file(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

std::string test_data(const std::string& name) { return std::string(NANOCHAT_TEST_DATA) + "/" + name; }

std::string story_model() { return test_data("models/stories260K"); }

GoldenStory golden_story() {
  const auto golden = nlohmann::json::parse(read_file(story_model() + "/golden.json"));
  // Its text is the tokens side by side; a text that starts a sequence has no leading space.
  return {golden.at("text").get<std::string>().substr(1), golden.at("greedy_ids")};
}

}  // namespace nanochat::test
