// nanochat tokenizer train
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"
#include "training_documents.h"

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
  std::string text_field = "text";
  std::string pattern = "nanochat";
  std::vector<std::string> specials;  // empty: nanochat's nine
  std::string output = "tokenizer.json";
  std::string ranks;        // empty: not written
  std::string token_bytes;  // empty: not written
  std::string spill_directory;
  uint64_t memory_limit = 0;
  int32_t vocab_size = 32768;
  ModelChoice machine;  // threads and progress
};

// A bar for each stage, in its own unit.
class TrainProgress {
 public:
  explicit TrainProgress(Show show)
      : read_("Reading", Unit::bytes, show),
        count_("Counting", Unit::items, show),
        merge_("Merging", Unit::items, show) {}

  static int32_t on_progress(const char* stage, uint64_t done, uint64_t total, void* user_data) {
    auto& progress = *static_cast<TrainProgress*>(user_data);
    const std::string_view name = stage;
    Progress& bar = name == "read" ? progress.read_ : name == "count" ? progress.count_ : progress.merge_;
    if (&bar != progress.shown_) progress.finish();
    progress.shown_ = &bar;
    return Progress::on_progress(stage, done, total, &bar);
  }
  void finish() {
    if (shown_ != nullptr) shown_->finish();
  }

 private:
  Progress read_, count_, merge_;
  Progress* shown_ = nullptr;
};

int32_t pattern_number(const std::string& name) {
  for (const auto& [known, number] : kPatterns) {
    if (known == name) return number;
  }
  return NANOCHAT_PATTERN_DEFAULT;
}

enum class InputKind { text, text_file, needs_library };

// .txt files can be read here or by the library, JSONL, zstd and folders by the library alone, what has
// another name here alone.
InputKind kind_of(const std::string& input) {
  const std::string_view name = input;
  std::error_code ignored;
  if (name.ends_with(".jsonl") || name.ends_with(".zst") || std::filesystem::is_directory(input, ignored)) {
    return InputKind::needs_library;
  }
  return name.ends_with(".txt") ? InputKind::text_file : InputKind::text;
}

// Whether the library reads the inputs.
bool are_document_files(const std::vector<std::string>& inputs) {
  const std::string *plain = nullptr, *special = nullptr;
  for (const std::string& input : inputs) {
    const InputKind kind = kind_of(input);
    if (kind == InputKind::text) plain = &input;
    if (kind == InputKind::needs_library) special = &input;
  }
  if (plain != nullptr && special != nullptr) {
    throw Failure(Exit::loading, printable(*plain) + ": beside " + printable(*special) +
                                     " documents are read from .txt, .jsonl, .txt.zst and .jsonl.zst files "
                                     "and folders of them");
  }
  return plain == nullptr;
}

Tokenizer train_tokenizer(const Train& train, const nanochat_runtime* runtime,
                          const nanochat_tokenizer_train_options& options) {
  if (are_document_files(train.inputs)) {
    std::vector<const char*> paths;
    for (const std::string& input : train.inputs) paths.push_back(input.c_str());
    return make<Tokenizer>(Exit::running, nanochat_tokenizer_train_files, runtime, &options, paths.data(),
                           paths.size());
  }
  TrainingDocuments documents(train.inputs, train.documents == "file");
  try {
    return make<Tokenizer>(Exit::running, nanochat_tokenizer_train, runtime, &options,
                           TrainingDocuments::on_document, &documents);
  } catch (const Interrupted&) {
    documents.rethrow_failure();
    throw;
  }
}

void save(const nanochat_tokenizer* tokenizer, const Train& train) {
  const auto write = [&](const std::string& path, int32_t form) {
    if (!path.empty()) call(Exit::running, nanochat_tokenizer_save_as, tokenizer, path.c_str(), form);
  };
  write(train.output, NANOCHAT_TOKENIZER_JSON);
  write(train.ranks, NANOCHAT_TOKENIZER_TIKTOKEN);
  write(train.token_bytes, NANOCHAT_TOKENIZER_TOKEN_BYTES);
}

void run_train(const Train& train) {
  const Runtime runtime = open_runtime(train.machine);
  TrainProgress progress(train.machine.show());
  std::vector<const char*> specials;
  for (const std::string& special : train.specials) specials.push_back(special.c_str());
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.special_tokens = specials.data();
  options.n_special_tokens = specials.size();
  options.progress = TrainProgress::on_progress;
  options.progress_user_data = &progress;
  options.cancel = interrupt_switch();
  options.vocab_size = train.vocab_size;
  options.pattern = pattern_number(train.pattern);
  options.memory_limit = train.memory_limit;
  if (!train.spill_directory.empty()) options.spill_directory = train.spill_directory.c_str();
  options.text_field = train.text_field.c_str();
  options.documents = train.documents == "file" ? NANOCHAT_DOCUMENTS_FILES : NANOCHAT_DOCUMENTS_LINES;
  const Tokenizer tokenizer = train_tokenizer(train, runtime.get(), options);
  progress.finish();
  save(tokenizer.get(), train);
  if (!train.machine.no_progress) {
    write_stderr(printable(train.output) + ": " +
                 std::to_string(nanochat_tokenizer_vocab_size(tokenizer.get())) + " tokens\n");
  }
}

void add_input_options(CLI::App& command, Train& train) {
  command
      .add_option("--input", train.inputs,
                  "Text files; or .txt, .jsonl, .txt.zst and .jsonl.zst files and folders of them")
      ->required()
      ->type_name("FILE...");
  command.add_option("--documents", train.documents, "What a document of a text file is: line or file")
      ->check(CLI::IsMember({"line", "file"}))
      ->capture_default_str();
  command.add_option("--text-field", train.text_field, "The member with the text in .jsonl files")
      ->type_name("NAME")
      ->capture_default_str();
}

void add_memory_options(CLI::App& command, Train& train) {
  command
      .add_option("--memory-limit", train.memory_limit,
                  "Bytes for counting and merging, such as 500MB or 2GB; what is beyond goes to disk")
      ->transform(CLI::AsSizeValue(true))
      ->type_name("SIZE");
  command.add_option("--spill-dir", train.spill_directory, "For temporary files, with --memory-limit")
      ->type_name("DIRECTORY");
}

void add_output_options(CLI::App& command, Train& train) {
  command.add_option("--output", train.output, "The tokenizer.json to write")
      ->type_name("FILE")
      ->capture_default_str();
  command.add_option("--ranks", train.ranks, "Also write tiktoken's rank file")->type_name("FILE");
  command
      .add_option("--token-bytes", train.token_bytes,
                  "Also write the number of bytes of each token, as safetensors")
      ->type_name("FILE");
}

}  // namespace

void add_tokenizer_train_command(CLI::App& group) {
  CLI::App* command = group.add_subcommand("train", "Train a byte-level BPE on texts");
  auto train = std::make_shared<Train>();
  std::vector<std::string> names;
  for (const auto& pattern : kPatterns) names.push_back(pattern.first);
  add_input_options(*command, *train);
  command->add_option("--vocab-size", train->vocab_size, "Tokens, the special ones included")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--pattern", train->pattern, "How text is cut: nanochat, gpt2, cl100k, o200k or llama3")
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  command
      ->add_option("--special", train->specials,
                   "Special tokens, in order of their ids; else nanochat's nine")
      ->type_name("TEXT...");
  add_memory_options(*command, *train);
  add_output_options(*command, *train);
  add_thread_option(*command, train->machine);
  command->add_flag("--no-progress", train->machine.no_progress, "No progress on standard error");
  command->callback([train] { run_train(*train); });
}

}  // namespace nanochat::cli
