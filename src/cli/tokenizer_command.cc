// nanochat tokenizer encode | decode
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
#include "token_list.h"

namespace nanochat::cli {
namespace {

struct Convert {
  std::string tokenizer;
  std::string input = "-";
  std::string output = "-";
  bool add_specials = false;      // encode
  bool specials_in_text = false;  // encode
  bool count = false;             // encode
  bool batch = false;             // encode: a text is a line
  bool offsets = false;           // encode, with batch
  size_t max_tokens = 0;          // encode, with batch
  bool skip_specials = false;     // decode
};

Tokenizer open_converter(const Convert& convert) {
  ModelChoice machine;
  machine.threads = 1;
  return open_tokenizer(open_runtime(machine), convert.tokenizer);
}

uint32_t flags_of(const Convert& convert) {
  uint32_t flags = NANOCHAT_ENCODE_PLAIN;
  if (convert.add_specials) flags |= NANOCHAT_ENCODE_ADD_SPECIALS;
  if (convert.specials_in_text) flags |= NANOCHAT_ENCODE_SPECIALS_IN_TEXT;
  return flags;
}

// [[0,4],[4,9]]
std::string offsets_json(const size_t* offsets, size_t n) {
  std::string text = "[";
  for (size_t i = 0; offsets != nullptr && i < n; ++i) {
    text += (i > 0 ? ",[" : "[") + std::to_string(offsets[2 * i]) + "," + std::to_string(offsets[2 * i + 1]) +
            "]";
  }
  return text + "]";
}

// A line for each text: its ids, or {"ids", "offsets"}.
void write_encoding(const nanochat_encoding* encoding, const Convert& convert, OutputFile& output) {
  for (size_t i = 0; i < nanochat_encoding_size(encoding); ++i) {
    size_t n = 0;
    const int32_t* ids = nanochat_encoding_ids(encoding, i, &n);
    const std::string list = token_list_json(TokenList(ids, ids + n));
    if (!convert.offsets) {
      output.write(list + "\n");
      continue;
    }
    const std::string offsets = offsets_json(nanochat_encoding_offsets(encoding, i, nullptr), n);
    output.write("{\"ids\":" + list + ",\"offsets\":" + offsets + "}\n");
  }
}

// The lines of the input in blocks, so that memory does not grow with them.
void run_batch(const Convert& convert, const nanochat_tokenizer* tokenizer, OutputFile& output) {
  constexpr size_t kBlockBytes = size_t{1} << 24;
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  options.flags = flags_of(convert);
  options.max_tokens = convert.max_tokens;
  options.truncation = convert.max_tokens > 0 ? NANOCHAT_TRUNCATION_KEEP_START : NANOCHAT_TRUNCATION_NONE;
  options.want_offsets = convert.offsets ? 1 : 0;
  options.cancel = interrupt_switch();
  LineReader lines(convert.input);
  for (bool more = true; more;) {
    std::vector<std::string> texts;
    std::string_view line;
    for (size_t bytes = 0; bytes < kBlockBytes && (more = lines.next(line)); bytes += line.size()) {
      texts.emplace_back(line);
    }
    std::vector<const char*> starts;
    std::vector<size_t> sizes;
    for (const std::string& text : texts) {
      starts.push_back(text.data());
      sizes.push_back(text.size());
    }
    const auto encoding = make<Encoding>(Exit::running, nanochat_tokenizer_encode_batch, tokenizer,
                                         starts.data(), sizes.data(), texts.size(), &options);
    write_encoding(encoding.get(), convert, output);
  }
}

void run_encode(const Convert& convert) {
  ModelChoice machine;
  machine.threads = convert.batch ? 0 : 1;
  const Tokenizer tokenizer = open_tokenizer(open_runtime(machine), convert.tokenizer);
  OutputFile output(convert.output);
  if (convert.count) {
    const std::string text = read_whole(convert.input);
    size_t n = 0;
    call(Exit::running, nanochat_tokenizer_count, tokenizer.get(), text.data(), text.size(),
         flags_of(convert), &n);
    output.write(std::to_string(n) + "\n");
  } else if (convert.batch) {
    run_batch(convert, tokenizer.get(), output);
  } else {
    const std::string text = read_whole(convert.input);
    output.write(token_list_json(encode(tokenizer.get(), text, flags_of(convert))) + "\n");
  }
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
  CLI::Option* count = command->add_flag("--count", convert->count, "Only the number of ids");
  CLI::Option* batch = command->add_flag("--batch", convert->batch,
                                         "Each line is a text of its own: a list a line, on all cores");
  command
      ->add_flag("--offsets", convert->offsets,
                 "With --batch: also which bytes of the line each id stands for")
      ->needs(batch);
  command->add_option("--max-tokens", convert->max_tokens, "With --batch: cut what is longer off the end")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->needs(batch);
  count->excludes(batch);
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
