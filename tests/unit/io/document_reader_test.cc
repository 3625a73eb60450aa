#include "io/document_reader.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "io/zstd_stream.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

using Named = std::vector<std::pair<std::string, std::string>>;  // name of the part, text

DocumentReaderOptions options_with(size_t batch_bytes) {
  DocumentReaderOptions options;
  options.batch_bytes = batch_bytes;
  options.cut = [](std::string_view text) { return text.rfind(' ') + 1; };  // npos + 1: nowhere
  return options;
}

Named read_all(const std::vector<std::string>& files, DocumentReaderOptions options) {
  DocumentReader reader(files, std::move(options));
  DocumentBatch batch;
  Named all;
  while (reader.read(batch)) {
    for (const DocumentBatch::Part& part : batch.parts) {
      all.emplace_back(reader.name(part), batch.text(part));
    }
    EXPECT_LE(reader.bytes_read(), reader.total_bytes());
  }
  EXPECT_EQ(reader.bytes_read(), reader.total_bytes());
  return all;
}

Error error_of(const std::vector<std::string>& files, DocumentReaderOptions options) {
  try {
    read_all(files, std::move(options));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(Status::ok);
}

std::string joined(const Named& parts) {
  std::string text;
  for (const auto& [name, part] : parts) text += part;
  return text;
}

TEST(DocumentReader, GivesLinesOfJsonlWithTheirNumbers) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("a.jsonl", "{\"text\":1}\n\n{\"text\":22}\r\nlast");
  for (const size_t batch_bytes : {1, 2, 7, 12, 1000}) {
    EXPECT_EQ(read_all({file}, options_with(batch_bytes)), (Named{{file + ": line 1", "{\"text\":1}"},
                                                                  {file + ": line 3", "{\"text\":22}\r"},
                                                                  {file + ": line 4", "last"}}))
        << batch_bytes;
  }
}

TEST(DocumentReader, CutsTextsOnlyWhereItIsTold) {
  const ScratchFolder scratch;
  const std::string text = "one two three-and-a-very-long-word four\nfive six";
  const std::string file = scratch.write("a.txt", text), other = scratch.write("b.txt", "next");
  for (const size_t batch_bytes : {1, 5, 9, 20, 1000}) {
    const Named parts = read_all({file, other}, options_with(batch_bytes));
    EXPECT_EQ(joined(parts), text + "next");
    for (const auto& [name, part] : parts) {
      if (name == file && part != "six" && part != text) {
        EXPECT_EQ(part.back(), ' ') << part;
      }
    }
    EXPECT_EQ(parts.back(), (std::pair<std::string, std::string>(other, "next")));
  }
  EXPECT_EQ(read_all({file, other}, options_with(1000)).size(), 2u);
}

TEST(DocumentReader, TakesTheLinesOfATextWhenAsked) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("a.txt", "one\ntwo\n\nthree\n");
  DocumentReaderOptions options = options_with(6);
  options.text_is_lines = true;
  EXPECT_EQ(joined(read_all({file}, options)), "onetwothree");
  EXPECT_EQ(read_all({file}, options)[2].first, file + ": line 4");
}

TEST(DocumentReader, DecompressesZstd) {
  const ScratchFolder scratch;
  std::string lines;
  for (int i = 0; i < 50000; ++i) lines += std::to_string(i) + "\n";
  const std::string one = compress_zstd(as_bytes(lines)), two = compress_zstd(as_bytes("end\n"));
  const std::string file = scratch.write("a.jsonl.zst", one + two);
  for (const size_t batch_bytes : {1000, 1 << 20}) {
    const Named parts = read_all({file}, options_with(batch_bytes));
    ASSERT_EQ(parts.size(), 50001u);
    EXPECT_EQ(parts[49999].second, "49999");
    EXPECT_EQ(parts[50000], (std::pair<std::string, std::string>(file + ": line 50001", "end")));
  }
  const std::string cut = scratch.write("b.txt.zst", one.substr(0, one.size() - 9));
  const Error error = error_of({cut}, options_with(1000));
  EXPECT_EQ(error.status(), Status::format_invalid);
  EXPECT_EQ(error.subject(), cut);
  EXPECT_NE(error.message().find("cut short"), std::string::npos) << error.message();
  EXPECT_EQ(error_of({scratch.write("c.txt.zst", "no zstd at all")}, options_with(1000)).status(),
            Status::format_invalid);
  EXPECT_EQ(error_of({scratch.write("d.txt.zst", "")}, options_with(1000)).status(), Status::format_invalid);
}

TEST(DocumentReader, RefusesWhatIsLongerThanAllowed) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("a.jsonl", "short\n" + std::string(5000, 'x') + "\n");
  DocumentReaderOptions options = options_with(100);
  options.max_part_bytes = 1000;
  const Error error = error_of({file}, options);
  EXPECT_EQ(error.status(), Status::working_memory_exhausted);
  EXPECT_NE(error.message().find(file + ": line 2"), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("at most 1000"), std::string::npos) << error.message();
  options.max_part_bytes = 10000;
  EXPECT_EQ(read_all({file}, options).size(), 2u);
}

TEST(DocumentReader, SaysWhatIsAbsentBeforeItReads) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("a.txt", "x");
  EXPECT_THROW(DocumentReader({file, scratch.file("absent.txt")}, options_with(10)), Error);
}

TEST(DocumentFiles, AreListedByNameAndRefusedByEnding) {
  const ScratchFolder scratch;
  for (const char* name :
       {"b.jsonl", "a.txt", "c.txt.zst", "d.jsonl.zst", "README.md", "e.zst", "f.txt.gz"}) {
    scratch.write(name, "x");
  }
  make_directories(scratch.file("folder.txt"));
  const auto path = [&](const char* name) { return scratch.file(name); };
  EXPECT_EQ(list_document_files({path("d.jsonl.zst"), scratch.path()}),
            (std::vector<std::string>{path("d.jsonl.zst"), path("a.txt"), path("b.jsonl"), path("c.txt.zst"),
                                      path("d.jsonl.zst")}));
  const auto status_of = [](const std::string& given) {
    try {
      list_document_files({given});
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(given), std::string::npos) << error.message();
      return error.status();
    }
    return Status::ok;
  };
  EXPECT_EQ(status_of(path("README.md")), Status::format_unsupported);
  EXPECT_EQ(status_of(path("e.zst")), Status::format_unsupported);
  EXPECT_EQ(status_of(path("folder.txt")), Status::file_not_found);
}

}  // namespace
}  // namespace nanochat
