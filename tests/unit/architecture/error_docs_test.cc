// docs/errors.md against the public header: every status has its place there, and its number is right.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace {

std::string text_of(const std::string& name) {
  std::ifstream file(std::string(NANOCHAT_SOURCE_DIR) + "/" + name);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::map<std::string, int> statuses_of_the_header() {
  const std::string header = text_of("include/nanochat.h");
  const std::regex line(R"((NANOCHAT_STATUS_[A-Z_]+) = (\d+))");
  std::map<std::string, int> statuses;
  for (std::sregex_iterator found(header.begin(), header.end(), line), end; found != end; ++found) {
    statuses[(*found)[1]] = std::stoi((*found)[2]);
  }
  return statuses;
}

// From src/base/status_facts.cc: {name, {code, category}}.
std::map<std::string, std::pair<std::string, std::string>> facts_of_the_source() {
  const std::string source = text_of("src/base/status_facts.cc");
  const std::regex line(R"re("([A-Z_]+)",\s*"(ERR-[A-Z0-9-]+)",\s*"([A-Z_]+)")re");
  std::map<std::string, std::pair<std::string, std::string>> facts;
  for (std::sregex_iterator found(source.begin(), source.end(), line), end; found != end; ++found) {
    facts[(*found)[1]] = {(*found)[2], (*found)[3]};
  }
  return facts;
}

// The text from a heading to the next one.
std::string section_of(const std::string& page, const std::string& heading) {
  const size_t begin = page.find("\n" + heading + "\n");
  if (begin == std::string::npos) return "";
  const size_t end = page.find("\n#", begin + heading.size());
  return page.substr(begin, end - begin);
}

std::string line_of(const std::string& page, const std::string& beginning) {
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(beginning)) return line;
  }
  return "";
}

TEST(ErrorDocs, HaveASectionForEachFatalStatusWithAllThatIsToBeSaid) {
  const std::string page = text_of("docs/errors.md");
  const auto facts = facts_of_the_source();
  size_t n_fatal = 0;
  for (const auto& [name, number] : statuses_of_the_header()) {
    if (number < 101 || number > 110) continue;
    ++n_fatal;
    const std::string section = section_of(page, "### " + std::to_string(number) + " " + name);
    ASSERT_FALSE(section.empty()) << name;
    const auto& [code, category] = facts.at(name.substr(16));
    const std::string first =
        "| code, category, exit code | `" + code + "`, `" + category + "`, " + std::to_string(number) + " |";
    EXPECT_NE(section.find(first), std::string::npos) << name << ": " << first;
    for (const char* const row : {"message", "fields", "when", "cause", "cure"}) {
      EXPECT_NE(section.find("\n| " + std::string(row) + " | "), std::string::npos) << name << ": " << row;
    }
  }
  EXPECT_EQ(n_fatal, 10u);
}

TEST(ErrorDocs, HaveALineForEachOtherStatus) {
  const std::string page = text_of("docs/errors.md");
  const auto facts = facts_of_the_source();
  const auto statuses = statuses_of_the_header();
  EXPECT_GT(statuses.size(), 40u);
  for (const auto& [name, number] : statuses) {
    if (number >= 101) continue;
    const auto& [code, category] = facts.at(name.substr(16));
    const std::string beginning =
        "| " + std::to_string(number) + " | `" + name + "` | `" + code + "` | `" + category + "` | ";
    const std::string line = line_of(page, beginning);
    ASSERT_FALSE(line.empty()) << beginning;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 7) << line;
    EXPECT_EQ(line.find("|  |"), std::string::npos) << line;
  }
}

TEST(ErrorDocs, NameNoStatusThatTheHeaderDoesNotHave) {
  const std::string page = text_of("docs/errors.md");
  const auto statuses = statuses_of_the_header();
  const std::regex word(R"(NANOCHAT_STATUS_[A-Z_]+)");
  for (std::sregex_iterator found(page.begin(), page.end(), word), end; found != end; ++found) {
    EXPECT_TRUE(statuses.contains(found->str())) << found->str();
  }
}

}  // namespace
