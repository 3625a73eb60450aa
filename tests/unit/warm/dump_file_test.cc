// Where a dump is written.
#include <cerrno>
#include <cstdio>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "unit/io/scratch_folder.h"
#include "warm/diagnostics.h"

namespace nanochat {
namespace {

Json some_dump() { return {{"summary", "It did not start."}, {"schema", "x"}}; }

// Takes the files away again that the fall-back writes to /tmp.
class DumpFile : public testing::Test {
 protected:
  ~DumpFile() override {
    set_file_fault({});
    if (place_.path.starts_with("/tmp/context-graph-dump-")) std::remove(place_.path.c_str());
  }
  ScratchFolder scratch_;
  DumpPlace place_;
};

TEST_F(DumpFile, IsWrittenToTheFolderWhichIsMade) {
  const std::string folder = scratch_.file("a/b");
  place_ = write_dump(some_dump(), folder);
  EXPECT_EQ(place_.failure, "");
  EXPECT_TRUE(place_.path.starts_with(folder + "/startup-failure-2")) << place_.path;
  EXPECT_TRUE(place_.path.ends_with("Z.dump")) << place_.path;
  const std::string text = file_bytes(place_.path);
  EXPECT_TRUE(text.starts_with("{\n  \"summary\": \"It did not start.\"")) << text;
  EXPECT_EQ(parse_json(text, "dump"), some_dump());
}

TEST_F(DumpFile, NeverReplacesAnother) {
  for (int i = 0; i < 20; ++i) write_dump(some_dump(), scratch_.path());
  EXPECT_EQ(list_directory(scratch_.path()).size(), 20u);
}

TEST_F(DumpFile, IsNotWrittenWhereNoFolderIsNamed) {
  place_ = write_dump(some_dump(), "");
  EXPECT_EQ(place_.path, "");
  EXPECT_EQ(place_.failure, "");
}

TEST_F(DumpFile, GoesToTmpWithTheReasonWhereTheFolderCannotBeMade) {
  const std::string file = scratch_.write("file", "");
  place_ = write_dump(some_dump(), file + "/sub");
  EXPECT_TRUE(place_.path.starts_with("/tmp/context-graph-dump-2")) << place_.path;
  EXPECT_TRUE(place_.path.ends_with("Z.json")) << place_.path;
  EXPECT_NE(place_.failure.find(file), std::string::npos) << place_.failure;
  const Json dump = parse_json(file_bytes(place_.path), "dump");
  EXPECT_EQ(dump["summary"], "It did not start.");
  EXPECT_EQ(dump["dump_failure"], place_.failure);
}

TEST_F(DumpFile, GoesToTmpWhateverFailsInItsFolder) {
  for (const char* const call : {"open", "write", "fsync", "rename", "close"}) {
    set_file_fault([&](const char* name, const std::string& path) {
      return std::string(name) == call && path.starts_with(scratch_.path()) ? ENOSPC : 0;
    });
    place_ = write_dump(some_dump(), scratch_.path());
    set_file_fault({});
    EXPECT_TRUE(place_.path.starts_with("/tmp/context-graph-dump-")) << call << ": " << place_.path;
    EXPECT_NE(place_.failure, "") << call;
    EXPECT_TRUE(parse_json(file_bytes(place_.path), "dump").contains("dump_failure")) << call;
    std::remove(place_.path.c_str());
  }
}

TEST_F(DumpFile, ThatCanBeWrittenNowhereIsAnErrorThatNamesBothPlaces) {
  set_file_fault(
      [](const char* name, const std::string&) { return std::string(name) == "write" ? ENOSPC : 0; });
  try {
    write_dump(some_dump(), scratch_.path());
    FAIL();
  } catch (const Error& error) {
    set_file_fault({});
    EXPECT_EQ(error.status(), Status::diagnostic_dump_failed);
    EXPECT_NE(error.message().find(scratch_.path() + "/startup-failure-"), std::string::npos);
    EXPECT_NE(error.message().find("/tmp/context-graph-dump-"), std::string::npos);
    EXPECT_NE(error.message().find("No space left"), std::string::npos) << error.message();
    ASSERT_EQ(error.fields().size(), 1u);
    EXPECT_EQ(error.fields()[0].name, "reason");
  }
  EXPECT_TRUE(list_directory(scratch_.path()).empty()) << "a piece was left";
}

}  // namespace
}  // namespace nanochat
