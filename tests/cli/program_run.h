// Runs the nanochat program and keeps everything it did.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat::test {

struct ProgramRun {
  int exit_code = -1;  // 128 + signal for one that a signal ended
  std::string out;
  std::string err;
};

// `nanochat arguments... < input`
ProgramRun run_program(const std::vector<std::string>& arguments, std::string_view input = {});

// The same with `signal` sent as soon as the first byte of output has arrived.
ProgramRun interrupt_program(const std::vector<std::string>& arguments, int signal);

// `bash -c script` with $nanochat, the program.
ProgramRun run_script(const std::string& script);

// A folder of the test's own, gone with it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

std::string read_file(const std::string& path);

std::string test_data(const std::string& name);

// stories260K, whose greedy text golden.json tells.
std::string story_model();
struct GoldenStory {
  std::string text;
  std::vector<int> ids;
};
GoldenStory golden_story();

}  // namespace nanochat::test
