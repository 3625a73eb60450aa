#include "base/temporary_file.h"

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

size_t files_in(const std::string& folder) { return list_directory(folder).size(); }

struct FaultCleared {
  ~FaultCleared() { set_file_fault(nullptr); }
};

Error error_of(const std::string& folder) {
  try {
    TemporaryFile{folder};
  } catch (const Error& error) {
    return error;
  }
  return Error(Status::ok);
}

TEST(TemporaryFile, GivesBackWhatWasAppendedAndHasNoName) {
  const ScratchFolder scratch;
  TemporaryFile file(scratch.path());
  file.append(as_bytes("hello "));
  file.append(as_bytes("world"));
  EXPECT_EQ(file.size(), 11u);
  std::string back(100, '\0');
  EXPECT_EQ(file.read_at(6, std::as_writable_bytes(std::span(back))), 5u);
  EXPECT_EQ(back.substr(0, 5), "world");
  EXPECT_EQ(file.read_at(11, std::as_writable_bytes(std::span(back))), 0u);
  EXPECT_EQ(files_in(scratch.path()), 0u);
}

TEST(TemporaryFile, WorksWhereFilesMustHaveAName) {
  const ScratchFolder scratch;
  const FaultCleared cleared;
  int n_opened = 0;
  set_file_fault([&](const char* call, const std::string&) {
    return std::string_view(call) == "open" && n_opened++ == 0 ? EOPNOTSUPP : 0;
  });
  TemporaryFile file(scratch.path());
  EXPECT_EQ(n_opened, 2);
  file.append(as_bytes("x"));
  EXPECT_EQ(file.size(), 1u);
  set_file_fault(nullptr);
  EXPECT_EQ(files_in(scratch.path()), 0u);
}

TEST(TemporaryFile, NamesTheFolderThatFails) {
  const ScratchFolder scratch;
  const Error missing = error_of(scratch.file("absent"));
  EXPECT_EQ(missing.status(), Status::file_not_found);
  EXPECT_NE(missing.message().find(scratch.file("absent")), std::string::npos) << missing.message();
  const Error no_folder = error_of(scratch.write("file", "x"));
  EXPECT_EQ(no_folder.status(), Status::file_not_found);

  const FaultCleared cleared;
  set_file_fault(
      [](const char* call, const std::string&) { return std::string_view(call) == "open" ? EACCES : 0; });
  const Error denied = error_of(scratch.path());
  EXPECT_EQ(denied.status(), Status::file_io);
  EXPECT_EQ(denied.os_code(), EACCES);
  EXPECT_NE(denied.message().find("cannot create a temporary file in"), std::string::npos)
      << denied.message();
}

TEST(TemporaryFile, SaysThatTheDiskIsFull) {
  const ScratchFolder scratch;
  TemporaryFile file(scratch.path());
  const FaultCleared cleared;
  set_file_fault(
      [](const char* call, const std::string&) { return std::string_view(call) == "write" ? ENOSPC : 0; });
  try {
    file.append(as_bytes("x"));
    ADD_FAILURE() << "written";
  } catch (const Error& error) {
    EXPECT_EQ(error.os_code(), ENOSPC);
    EXPECT_EQ(error.subject(), scratch.path());
  }
}

}  // namespace
}  // namespace nanochat
