#include "base/file.h"

#include <csignal>
#include <cstring>
#include <map>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace nanochat {
namespace {

// A fresh folder for one test, removed with what is in it.
class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nanochat-file-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    set_file_fault({});
    remove_tree(folder_);
  }
  static void remove_tree(const std::string& path) {
    for (const std::string& name : list_directory(path)) {
      const std::string child = join_path(path, name);
      struct stat status;
      if (::lstat(child.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
        remove_tree(child);
      } else {
        ::unlink(child.c_str());
      }
    }
    ::rmdir(path.c_str());
  }
  std::string path(const std::string& name) const { return join_path(folder_, name); }

  std::string folder_;
};

template <class F>
Error error_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(Status::ok);
}

// Fails the n-th system call (from 0) with `code` and counts them all.
struct FailNthCall {
  explicit FailNthCall(int wanted, int code) {
    set_file_fault([this, wanted, code](const char* call, const std::string&) {
      last = count == wanted ? call : last;
      return count++ == wanted ? code : 0;
    });
  }
  ~FailNthCall() { set_file_fault({}); }
  int count = 0;
  std::string last;
};

int open_descriptors() { return static_cast<int>(list_directory("/proc/self/fd").size()); }

TEST_F(FileTest, ReadsBackWhatWasWritten) {
  write_file(path("a"), "text\n");
  EXPECT_EQ(read_file(path("a")), "text\n");
  const MappedFile file(path("a"));
  EXPECT_EQ(file.text(), "text\n");
  EXPECT_EQ(file.path(), path("a"));
  char middle[2];
  file.read_at(1, std::as_writable_bytes(std::span(middle)));
  EXPECT_EQ(std::string(middle, 2), "ex");
}

TEST_F(FileTest, TreatsAnEmptyFileAsAnEmptySpan) {
  write_file(path("empty"), "");
  EXPECT_EQ(read_file(path("empty")), "");
  const MappedFile file(path("empty"));
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(file.text(), "");
}

TEST_F(FileTest, NamesPathOperationAndReasonOfAMissingFile) {
  for (const auto& call : {std::function<void()>([&] { read_file(path("none")); }),
                           std::function<void()>([&] { MappedFile file(path("none")); }),
                           std::function<void()>([&] { list_directory(path("none")); })}) {
    const Error error = error_of(call);
    EXPECT_EQ(error.status(), Status::file_not_found);
    EXPECT_EQ(error.subject(), path("none"));
    EXPECT_EQ(error.os_code(), ENOENT);
    EXPECT_NE(error.message().find(path("none") + ": cannot open"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("No such file"), std::string::npos) << error.message();
  }
}

TEST_F(FileTest, RefusesWhatIsNotARegularFile) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const std::map<std::string, std::string> paths = {
      {folder_, "a directory"}, {path("pipe"), "a pipe"}, {"/dev/zero", "a device"}};
  for (const auto& [name, kind] : paths) {
    for (const auto& call : {std::function<void()>([&, n = name] { read_file(n); }),
                             std::function<void()>([&, n = name] { MappedFile file(n); })}) {
      const Error error = error_of(call);
      EXPECT_EQ(error.status(), Status::file_io) << name;
      EXPECT_NE(error.message().find(kind), std::string::npos) << error.message();
    }
  }
}

TEST_F(FileTest, ReportsDeniedPermission) {
  write_file(path("a"), "text");
  const FailNthCall denied(0, EACCES);  // root may open everything
  const Error error = error_of([&] { MappedFile file(path("a")); });
  EXPECT_EQ(error.status(), Status::file_io);
  EXPECT_EQ(error.os_code(), EACCES);
  EXPECT_NE(error.message().find("Permission denied"), std::string::npos);
}

TEST_F(FileTest, RefusesAFileLargerThanAskedForBeforeReadingIt) {
  write_file(path("a"), "12345");
  EXPECT_EQ(read_file(path("a"), 5), "12345");
  const Error error = error_of([&] { read_file(path("a"), 4); });
  EXPECT_EQ(error.status(), Status::file_io);
  EXPECT_NE(error.message().find("5 bytes, at most 4"), std::string::npos) << error.message();
}

TEST_F(FileTest, ReadsKernelFilesThatSayTheyAreEmpty) { EXPECT_NE(read_file("/proc/self/status"), ""); }

TEST_F(FileTest, ReportsAFileThatShrankUnderAMapping) {
  write_file(path("a"), std::string(100, 'x'));
  const MappedFile file(path("a"));
  ASSERT_EQ(::truncate(path("a").c_str(), 10), 0);
  std::byte bytes[20];
  file.read_at(0, std::span(bytes).first(10));
  const Error error = error_of([&] { file.read_at(0, bytes); });
  EXPECT_EQ(error.status(), Status::file_io);
  EXPECT_NE(error.message().find("20 bytes at byte 0: the file has 10"), std::string::npos)
      << error.message();
}

TEST_F(FileTest, RefusesReadsPastTheEnd) {
  write_file(path("a"), "12345");
  const MappedFile file(path("a"), MappedFile::Access::random);
  std::byte bytes[4];
  for (const uint64_t offset : {uint64_t{2}, uint64_t{6}, ~uint64_t{0} - 1}) {
    EXPECT_EQ(error_of([&] { file.read_at(offset, bytes); }).status(), Status::file_io) << offset;
  }
}

TEST_F(FileTest, MovesAMappingAndClosesItOnce) {
  write_file(path("a"), "first");
  write_file(path("b"), "second");
  const int before = open_descriptors();
  {
    MappedFile a(path("a")), b(path("b"));
    a = std::move(b);
    EXPECT_EQ(a.text(), "second");
    EXPECT_TRUE(b.bytes().empty());
    MappedFile c(std::move(a));
    EXPECT_EQ(c.text(), "second");
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(FileTest, FailsCleanlyWhenAnyCallOfAReadFails) {
  write_file(path("a"), "text");
  const int before = open_descriptors();
  for (int n = 0;; ++n) {
    const FailNthCall fault(n, EIO);
    bool failed = false;
    try {
      MappedFile file(path("a"));
      read_file(path("a"));
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.os_code(), EIO) << n;
      EXPECT_EQ(error.subject(), path("a")) << n;
    }
    set_file_fault({});
    EXPECT_EQ(open_descriptors(), before) << n;
    if (!failed) {
      EXPECT_GE(n, 6);
      break;
    }
  }
}

TEST_F(FileTest, RepeatsInterruptedCalls) {
  write_file(path("old"), "text");
  int calls = 0;
  set_file_fault([&](const char* call, const std::string&) {
    return std::string_view(call) != "close" && calls++ % 2 == 0 ? EINTR : 0;
  });
  write_file(path("a"), "text");
  EXPECT_EQ(read_file(path("a")), "text");
  EXPECT_EQ(MappedFile(path("a")).text(), "text");
  EXPECT_EQ(list_directory(folder_), (std::vector<std::string>{"a", "old"}));
}

TEST_F(FileTest, ShowsNothingBeforeCommit) {
  AtomicFile file(path("a"));
  file.write("te");
  file.write("xt");
  EXPECT_EQ(file.size(), 4u);
  EXPECT_FALSE(file_exists(path("a")));
  file.commit();
  EXPECT_EQ(read_file(path("a")), "text");
  EXPECT_EQ(list_directory(folder_).size(), 1u);
  EXPECT_EQ(error_of([&] { file.commit(); }).status(), Status::invalid_state);
  EXPECT_EQ(error_of([&] { file.write("more"); }).status(), Status::invalid_state);
}

TEST_F(FileTest, RemovesTheTemporaryFileWithoutCommit) {
  write_file(path("a"), "old");
  {
    AtomicFile file(path("a"));
    file.write("new");
    EXPECT_EQ(list_directory(folder_).size(), 2u);
  }
  EXPECT_EQ(list_directory(folder_).size(), 1u);
  EXPECT_EQ(read_file(path("a")), "old");
}

TEST_F(FileTest, KeepsOldOrNewWholeWhenAnySystemCallOfAWriteFails) {
  const std::string old_text = "old text", new_text(100'000, 'n');
  const int before = open_descriptors();
  bool finished = false;
  for (int n = 0; !finished; ++n) {
    write_file(path("a"), old_text);
    std::string failed_call;
    {
      const FailNthCall fault(n, ENOSPC);
      try {
        AtomicFile file(path("a"));
        file.write(std::string_view(new_text).substr(0, 50'000));
        file.write(std::string_view(new_text).substr(50'000));
        file.commit();
        finished = fault.count <= n;
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), Status::file_io) << n;
        EXPECT_EQ(error.os_code(), ENOSPC) << n;
      }
      failed_call = fault.last;
    }
    const std::string text = read_file(path("a"));
    // Only the flush of the folder comes after the rename.
    const bool renamed = finished || text == new_text;
    EXPECT_TRUE(renamed || text == old_text) << n << " " << failed_call;
    if (renamed && !finished) {
      EXPECT_TRUE(failed_call == "fsync" || failed_call == "stat") << n << " " << failed_call;
    }
    EXPECT_EQ(list_directory(folder_), std::vector<std::string>{"a"}) << n << " " << failed_call;
    EXPECT_EQ(open_descriptors(), before) << n << " " << failed_call;
    EXPECT_TRUE(!finished || n >= 8) << n;
  }
}

TEST_F(FileTest, ContinuesAfterAShortWriteAndReportsAFullDisk) {
  write_file(path("a"), "old");
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {5000, limit.rlim_max};  // the first write ends at 5000 bytes, the next fails
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error error = error_of([&] { write_file(path("a"), std::string(20'000, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(error.os_code(), EFBIG);
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(list_directory(folder_).size(), 1u);
}

TEST_F(FileTest, StepsOverLeftoversOfACrashedWriter) {
  write_file(path("a"), "text");
  int refused = 0;
  set_file_fault([&](const char* call, const std::string& name) {
    const bool is_temporary = std::strcmp(call, "open") == 0 && name.find(".tmp") != std::string::npos;
    return is_temporary && refused++ < 3 ? EEXIST : 0;
  });
  write_file(path("a"), "new");
  set_file_fault({});
  EXPECT_EQ(refused, 4);
  EXPECT_EQ(read_file(path("a")), "new");
}

TEST_F(FileTest, WritesAFileWithTheLongestPossibleName) {
  const std::string name(255, 'n');
  write_file(path(name), "text");
  EXPECT_EQ(read_file(path(name)), "text");
}

TEST_F(FileTest, RefusesToReplaceAFolderOrToWriteIntoNone) {
  EXPECT_EQ(error_of([&] { AtomicFile file(folder_); }).os_code(), EISDIR);
  EXPECT_EQ(error_of([&] { AtomicFile file(path("none/a")); }).status(), Status::file_not_found);
  EXPECT_EQ(error_of([&] { AtomicFile file(""); }).status(), Status::invalid_argument);
}

TEST_F(FileTest, DoesNotLeakDescriptorsToChildProcesses) {
  write_file(path("a"), "text");
  const MappedFile mapped(path("a"));
  AtomicFile atomic(path("b"));
  int found = 0;
  for (const std::string& name : list_directory("/proc/self/fd")) {
    char target[4096] = {};
    const std::string link = "/proc/self/fd/" + name;
    if (::readlink(link.c_str(), target, sizeof target - 1) < 0 || !std::string(target).starts_with(folder_))
      continue;
    EXPECT_NE(::fcntl(std::stoi(name), F_GETFD) & FD_CLOEXEC, 0) << target;
    ++found;
  }
  EXPECT_EQ(found, 2);
}

TEST_F(FileTest, MakesFoldersAndListsThem) {
  make_directories(path("x/y/z"));
  make_directories(path("x/y/z/"));
  write_file(path("x/b"), "");
  write_file(path("x/a"), "");
  EXPECT_EQ(list_directory(path("x")), (std::vector<std::string>{"a", "b", "y"}));
  EXPECT_TRUE(directory_exists(path("x/y/z")));
  EXPECT_FALSE(directory_exists(path("x/a")));
  EXPECT_TRUE(file_exists(path("x/a")));
  EXPECT_FALSE(file_exists(path("x")));
  EXPECT_FALSE(file_exists(path("none")));
  EXPECT_EQ(error_of([&] { make_directories(path("x/a/c")); }).status(), Status::file_io);
  EXPECT_EQ(error_of([&] { make_directories(path("x/a")); }).status(), Status::file_io);
  EXPECT_EQ(error_of([&] { list_directory(path("x/a")); }).os_code(), ENOTDIR);
}

TEST(FilePath, JoinsAndSplits) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(file_name("a/b.txt"), "b.txt");
  EXPECT_EQ(file_name("b.txt"), "b.txt");
  EXPECT_EQ(file_name("a/"), "");
}

}  // namespace
}  // namespace nanochat
