// nanochat tokenizer encode | decode
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"
#include "token_list.h"

namespace nanochat::cli {
namespace {

struct Convert {
  std::string tokenizer;
  std::string input = "-";
  std::string output = "-";
  bool add_specials = false;      // encode
  bool specials_in_text = false;  // encode
  bool skip_specials = false;     // decode
};

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
  add_tokenizer_train_command(*group);
  add_encode(*group);
  add_decode(*group);
}

}  // namespace nanochat::cli
