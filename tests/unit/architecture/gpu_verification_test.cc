// docs/gpu-verification.md against the sources: every file of kernels has its row, and every row its file.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

const std::filesystem::path kSource = NANOCHAT_SOURCE_DIR;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::set<std::string> kernel_files() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "cuda")) {
    if (entry.path().extension() == ".cu") names.insert("cuda/" + entry.path().filename().string());
  }
  return names;
}

TEST(GpuVerification, SaysOfEveryFileOfKernelsWhenItLastRan) {
  const std::string document = text_of(kSource / "docs/gpu-verification.md");
  const std::regex row(R"(\n\| `(cuda/[a-z0-9_]+\.cu)` \| [^|]+ \| (never|20\d\d-\d\d-\d\d[^|]*) \|)");
  std::set<std::string> rows;
  for (std::sregex_iterator found(document.begin(), document.end(), row), end; found != end; ++found) {
    rows.insert((*found)[1]);
  }
  EXPECT_EQ(rows, kernel_files());
}

// A kernel that no list names is loaded into the GPU when it is first needed: in somebody's first request.
TEST(GpuVerification, EveryFileOfKernelsListsThemForLoading) {
  for (const std::string& name : kernel_files()) {
    const std::string source = text_of(kSource / name);
    if (source.find("__global__") == std::string::npos) continue;
    EXPECT_NE(source.find("KernelList"), std::string::npos) << name;
  }
}

}  // namespace
