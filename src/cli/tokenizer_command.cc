// nanochat tokenizer train | encode | decode
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"
#include "token_list.h"

namespace nanochat::cli {
namespace {

const std::vector<std::pair<std::string, int32_t>> kPatterns = {{"nanochat", NANOCHAT_PATTERN_NANOCHAT},
                                                                {"gpt2", NANOCHAT_PATTERN_GPT2},
                                                                {"cl100k", NANOCHAT_PATTERN_CL100K},
                                                                {"o200k", NANOCHAT_PATTERN_O200K},
                                                                {"llama3", NANOCHAT_PATTERN_LLAMA3}};

struct Train {
  std::vector<std::string> inputs;
  std::string documents = "line";
  std::string pattern = "nanochat";
  std::string output = "tokenizer.json";
  int32_t vocab_size = 32768;
  ModelChoice machine;  // threads and progress
};

struct Convert {
  std::string tokenizer;
  std::string input = "-";
  std::string output = "-";
  bool add_specials = false;      // encode
  bool specials_in_text = false;  // encode
  bool skip_specials = false;     // decode
};

// The documents of all inputs in their order: each line, or each file.
class Documents {
 public:
  explicit Documents(const Train& train) : inputs_(train.inputs), whole_files_(train.documents == "file") {}

  bool next(std::string_view& document) { return whole_files_ ? next_file(document) : next_line(document); }

  // A nanochat_document_callback; user_data is a Documents. No exception may reach the library.
  static int32_t on_document(const char** text, size_t* size, void* user_data) {
    auto& documents = *static_cast<Documents*>(user_data);
    try {
      std::string_view document;
      if (!documents.next(document)) return 0;
      *text = document.data();
      *size = document.size();
      return 1;
    } catch (...) {
      documents.failure_ = std::current_exception();
      return -1;
    }
  }
  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  bool next_file(std::string_view& document) {
    if (next_input_ == inputs_.size()) return false;
    file_ = read_whole(inputs_[next_input_++]);
    document = file_;
    return true;
  }
  bool next_line(std::string_view& document) {
    for (;;) {
      if (lines_ && lines_->next(document)) return true;
      if (next_input_ == inputs_.size()) return false;
      lines_ = std::make_unique<LineReader>(inputs_[next_input_++]);
    }
  }

  const std::vector<std::string>& inputs_;
  bool whole_files_;
  size_t next_input_ = 0;
  std::string file_;
  std::unique_ptr<LineReader> lines_;
  std::exception_ptr failure_;
};

int32_t pattern_number(const std::string& name) {
  for (const auto& [known, number] : kPatterns) {
    if (known == name) return number;
  }
  return NANOCHAT_PATTERN_DEFAULT;
}

void run_train(const Train& train) {
  const Runtime runtime = open_runtime(train.machine);
  Documents documents(train);
  Progress progress("Training", Unit::items, train.machine.show());
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.progress = Progress::on_progress;
  options.progress_user_data = &progress;
  options.cancel = interrupt_switch();
  options.vocab_size = train.vocab_size;
  options.pattern = pattern_number(train.pattern);
  Tokenizer tokenizer;
  try {
    tokenizer = make<Tokenizer>(Exit::running, nanochat_tokenizer_train, runtime.get(), &options,
                                Documents::on_document, &documents);
  } catch (const Interrupted&) {
    documents.rethrow_failure();
    throw;
  }
  progress.finish();
  call(Exit::running, nanochat_tokenizer_save, tokenizer.get(), train.output.c_str());
  if (!train.machine.no_progress) {
    write_stderr(printable(train.output) + ": " +
                 std::to_string(nanochat_tokenizer_vocab_size(tokenizer.get())) + " tokens\n");
  }
}

Tokenizer open_converter(const Convert& convert) {
  ModelChoice machine;
  machine.threads = 1;
  return open_tokenizer(open_runtime(machine), convert.tokenizer);
}

void run_encode(const Convert& convert) {
  const Tokenizer tokenizer = open_converter(convert);
  const std::string text = read_whole(convert.input);
  uint32_t flags = NANOCHAT_ENCODE_PLAIN;
  if (convert.add_specials) flags |= NANOCHAT_ENCODE_ADD_SPECIALS;
  if (convert.specials_in_text) flags |= NANOCHAT_ENCODE_SPECIALS_IN_TEXT;
  const TokenList ids = encode(tokenizer.get(), text, flags);
  OutputFile output(convert.output);
  output.write(token_list_json(ids) + "\n");
  output.commit();
}

void run_decode(const Convert& convert) {
  const Tokenizer tokenizer = open_converter(convert);
  const std::string name = convert.input == "-" ? "standard input" : convert.input;
  const TokenList ids = parse_token_list(read_whole(convert.input), name);
  const int32_t vocab_size = nanochat_tokenizer_vocab_size(tokenizer.get());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < vocab_size) continue;
    throw Failure(Exit::loading, name + ": the list[" + std::to_string(i) + "] is " + std::to_string(ids[i]) +
                                     ", the tokenizer's ids end at " + std::to_string(vocab_size - 1));
  }
  const Text text = make<Text>(Exit::running, nanochat_tokenizer_decode, tokenizer.get(), ids.data(),
                               ids.size(), static_cast<int32_t>(convert.skip_specials));
  OutputFile output(convert.output);
  output.write({nanochat_text_data(text.get()), nanochat_text_size(text.get())});
  output.commit();
}

void add_train(CLI::App& group) {
  CLI::App* command = group.add_subcommand("train", "Train a byte-level BPE on texts");
  auto train = std::make_shared<Train>();
  std::vector<std::string> names;
  for (const auto& pattern : kPatterns) names.push_back(pattern.first);
  command->add_option("--input", train->inputs, "Text files")->required()->type_name("FILE...");
  command->add_option("--documents", train->documents, "What a document is: line or file")
      ->check(CLI::IsMember({"line", "file"}))
      ->capture_default_str();
  command->add_option("--vocab-size", train->vocab_size, "Tokens, the special ones included")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--pattern", train->pattern, "How text is cut: nanochat, gpt2, cl100k, o200k or llama3")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  command->add_option("--output", train->output, "The file to write")
      ->type_name("FILE")
      ->capture_default_str();
  add_thread_option(*command, train->machine);
  command->add_flag("--no-progress", train->machine.no_progress, "No progress on standard error");
  command->callback([train] { run_train(*train); });
}

std::shared_ptr<Convert> add_convert_options(CLI::App& command) {
  auto convert = std::make_shared<Convert>();
  command.add_option("--tokenizer", convert->tokenizer, "tokenizer.json, a .tiktoken file, or a directory")
      ->required()
      ->type_name("FILE");
  command.add_option("--input", convert->input, "- is standard input")
      ->type_name("FILE")
      ->capture_default_str();
  command.add_option("--output", convert->output, "- is standard output")
      ->type_name("FILE")
      ->capture_default_str();
  return convert;
}

void add_encode(CLI::App& group) {
  CLI::App* command = group.add_subcommand("encode", "Text to a JSON list of ids");
  auto convert = add_convert_options(*command);
  command->add_flag("--add-specials", convert->add_specials,
                    "Add what the tokenizer's file says, such as bos");
  command->add_flag("--specials-in-text", convert->specials_in_text,
                    "Read <|bos|> and the like as special tokens");
  command->callback([convert] { run_encode(*convert); });
}

void add_decode(CLI::App& group) {
  CLI::App* command = group.add_subcommand("decode", "A JSON list of ids to text");
  auto convert = add_convert_options(*command);
  command->add_flag("--skip-specials", convert->skip_specials, "Leave special tokens out");
  command->callback([convert] { run_decode(*convert); });
}

}  // namespace

void add_tokenizer_commands(CLI::App& app) {
  CLI::App* group = app.add_subcommand("tokenizer", "Train a tokenizer, encode and decode with one");
  group->require_subcommand(1);
  add_train(*group);
  add_encode(*group);
  add_decode(*group);
}

}  // namespace nanochat::cli
