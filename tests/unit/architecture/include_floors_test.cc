// Reads the sources and fails on an #include that goes up a floor, or on a file that has grown too long.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

// design of the rooms: a room may include its own floor's neighbours only where said, and every lower floor.
const std::map<std::string, int> kFloors = {
    {"base", 0},      {"memory", 1}, {"tensor", 1},  {"kernels", 2}, {"io", 2},    {"cuda", 2},
    {"tokenizer", 3}, {"model", 3},  {"encoder", 3}, {"infer", 4},   {"train", 4}, {"eval", 4},
    {"hub", 4},       {"warm", 5},   {"capi", 6},    {"cli", 7},     {"server", 7}};

// Arrows within one floor. All others between two rooms of a floor are breaches.
const std::set<std::pair<std::string, std::string>> kNeighbours = {
    {"tensor", "memory"},     {"model", "tokenizer"}, {"encoder", "model"},
    {"encoder", "tokenizer"}, {"eval", "infer"},      {"cuda", "kernels"}};

// Arrows downward that are breaches all the same: warm answers for models that run, not for models in the
// making.
const std::set<std::pair<std::string, std::string>> kForbidden = {{"warm", "train"}};

// These see what a customer sees.
const std::set<std::string> kOutside = {"cli", "server"};

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

// Why `from` (a file of room `room`) must not have the line; nothing if it may.
std::optional<std::string> breach(const std::string& room, const std::string& line) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || line[hash] != '#') return std::nullopt;
  const size_t word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string::npos || line.compare(word, 7, "include") != 0) return std::nullopt;
  const size_t open = line.find_first_of("\"<", word + 7);
  if (open == std::string::npos) return std::nullopt;
  const size_t close = line.find_first_of("\">", open + 1);
  const std::string path = line.substr(open + 1, close - open - 1);
  const bool has_folder = path.find('/') != std::string::npos;
  const std::string target = room_of(path);
  if (!has_folder || kFloors.count(target) == 0 || target == room) return std::nullopt;
  const auto arrow = std::pair(room, target);
  if (kOutside.count(room) != 0)
    return room + " may include <nanochat.h> and its own files only, not " + path;
  if (kForbidden.count(arrow) != 0) return room + " must not see " + path;
  const int from = kFloors.at(room), to = kFloors.at(target);
  if (to > from)
    return room + " (floor " + std::to_string(from) + ") includes " + path + " of a higher floor";
  if (to == from && kNeighbours.count(arrow) == 0)
    return room + " and " + target + " are neighbours: " + path;
  return std::nullopt;
}

bool is_source(const fs::path& path) {
  static const std::set<std::string> kEndings = {".h", ".hpp", ".c", ".cc", ".cpp", ".inc", ".cu", ".cuh"};
  return kEndings.count(path.extension().string()) != 0;
}

std::vector<fs::path> sources_under(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && is_source(entry.path())) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> breaches_under(const fs::path& root) {
  std::vector<std::string> found;
  for (const char* const top : {"src", "cuda"}) {
    for (const fs::path& path : sources_under(root / top)) {
      const std::string relative = fs::relative(path, root).string();
      const std::string room = std::string(top) == "cuda" ? "cuda" : room_of(relative.substr(4));
      if (kFloors.count(room) == 0) {
        found.push_back(relative + ": a room without a floor");
        continue;
      }
      for (const std::string& line : lines_of(path)) {
        if (const auto why = breach(room, line)) found.push_back(relative + ": " + *why);
      }
    }
  }
  return found;
}

const fs::path kRoot = NANOCHAT_SOURCE_DIR;

TEST(IncludeFloors, HaveNoArrowUpward) {
  EXPECT_GT(sources_under(kRoot / "src").size(), 10u);
  for (const std::string& found : breaches_under(kRoot)) ADD_FAILURE() << found;
}

TEST(IncludeFloors, CatchMadeUpBadArrows) {
  const std::pair<std::string, std::string> bad[] = {
      {"base", "#include \"memory/memory.h\""},      {"memory", "#include \"tensor/dtype.h\""},
      {"io", "  #  include \"kernels/rms_norm.h\""}, {"tokenizer", "#include \"model/config.h\""},
      {"train", "#include \"infer/session.h\""},     {"infer", "#include \"train/trainer.h\""},
      {"warm", "#include \"train/trainer.h\""},      {"model", "#include \"capi/guard.h\""},
      {"cli", "#include \"base/file.h\""},           {"cli", "#include <base/file.h>"},
      {"server", "#include \"cli/arguments.h\""},
  };
  for (const auto& [room, line] : bad) EXPECT_TRUE(breach(room, line).has_value()) << room << ": " << line;
}

TEST(IncludeFloors, AllowArrowsDownward) {
  const std::pair<std::string, std::string> good[] = {
      {"memory", "#include \"base/error.h\""},
      {"tensor", "#include \"memory/memory.h\""},
      {"model", "#include \"tokenizer/bpe.h\""},
      {"eval", "#include \"infer/session.h\""},
      {"cli", "#include <nanochat.h>"},
      {"cli", "#include \"cli/arguments.h\""},
      {"cli", "#include <sys/stat.h>"},
      {"base", "// #include \"capi/guard.h\" is a comment"},
      {"cuda", "#include \"kernels/rms_norm.h\""},
      {"capi", "#include \"warm/registry.h\""},
  };
  for (const auto& [room, line] : good) EXPECT_EQ(breach(room, line), std::nullopt) << room << ": " << line;
}

TEST(IncludeFloors, FindABadArrowInATree) {
  const fs::path root = fs::path(testing::TempDir()) / "nanochat-include-floors";
  fs::remove_all(root);
  fs::create_directories(root / "src/base");
  std::ofstream(root / "src/base/bad.cc") << "#include <string>\n#include \"infer/session.h\"\n";
  std::ofstream(root / "src/base/good.cc") << "#include \"base/bad.h\"\n";
  EXPECT_EQ(breaches_under(root).size(), 1u);
  fs::remove_all(root);
}

// Its tree ends the process when memory is short; the program, which is not the library, may use it.
TEST(SourceFiles, LeaveNlohmannJsonToTheParser) {
  for (const fs::path& path : sources_under(kRoot / "src")) {
    const std::string name = fs::relative(path, kRoot / "src").string();
    if (name == "base/json.cc" || room_of(name) == "cli") continue;
    for (const std::string& line : lines_of(path)) {
      EXPECT_EQ(line.find("#include <nlohmann/"), std::string::npos) << name;
    }
  }
}

TEST(SourceFiles, StayBelowFiveHundredLines) {
  constexpr size_t kMaxLines = 500;
  const fs::path data = kRoot / "tests/data";
  for (const char* const top : {"src", "cuda", "tests", "examples"}) {
    for (const fs::path& path : sources_under(kRoot / top)) {
      if (path.string().starts_with(data.string() + "/")) continue;
      EXPECT_LE(lines_of(path).size(), kMaxLines) << path;
    }
  }
}

}  // namespace
