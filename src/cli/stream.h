// Bytes in and out: standard output as it comes, standard input line by line, files whole or replaced at
// once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nanochat::cli {

// Writes all of it now. Throws ReaderLeft for a closed pipe, Failure for a full disk and the like.
void write_stdout(std::string_view bytes);

// As far as it goes: a lost message must not end the program.
void write_stderr(std::string_view text);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// Reads lines from a file, "-" for standard input. Lines come without their line break.
class LineReader {
 public:
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // False at the end. `line` is valid until the next call.
  bool next(std::string_view& line);
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  bool fill();

  std::string name_;
  int file_;
  std::string buffer_;
  size_t begin_ = 0;
  bool ended_ = false;
  uint64_t bytes_read_ = 0;
};

// The bytes of a file, "-" for standard input.
std::string read_whole(const std::string& path);

// A file that appears under its name only when it is complete; "-" is standard output. What is no regular
// file (a pipe, /dev/null) is written directly.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();  // without commit(): leaves what was there before
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::string path_;
  std::string temporary_;  // empty: written directly
  int file_;
};

}  // namespace nanochat::cli
