// nanochat quantize: a model directory with int8 weights.
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"

namespace nanochat::cli {
namespace {

struct Quantize {
  ModelChoice model;
  std::string synthetic;
  std::string out;
};

// A load quantises in its one pass over the files: the model is never in memory in its full width.
void run_quantize(const Quantize& asked) {
  ModelChoice choice = asked.model;
  choice.dtype = "int8";
  const Runtime runtime = open_runtime(choice);
  const Model model = asked.synthetic.empty() ? open_model(runtime, choice)
                                              : make_random_model(runtime, asked.synthetic, choice);
  save_model(model.get(), asked.out, choice);
  if (asked.synthetic.empty() && std::filesystem::exists(choice.directory + "/tokenizer.json")) {
    const Tokenizer tokenizer = open_tokenizer(runtime, choice);
    call(Exit::running, nanochat_tokenizer_save, tokenizer.get(), (asked.out + "/tokenizer.json").c_str());
  }
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("quantize", "Write a model directory with int8 weights");
  auto asked = std::make_shared<Quantize>();
  CLI::Option* model = add_model_options(*command, asked->model, Tokenized::no);
  command->remove_option(command->get_option("--dtype"));
  add_synthetic_option(*command, asked->synthetic, model);
  command->add_option("out", asked->out, "The directory to write")->required()->type_name("OUT");
  command->callback([asked] {
    require_model(asked->model, asked->synthetic);
    run_quantize(*asked);
  });
}

}  // namespace nanochat::cli
