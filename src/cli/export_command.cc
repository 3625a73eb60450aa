// nanochat export: a model in another form, for another engine or as a directory of its own.
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"

namespace nanochat::cli {
namespace {

struct Export {
  ModelChoice model;
  std::string synthetic;
  std::string format = "gguf";
  std::string out;
  bool no_tokenizer = false;
};

int32_t export_dtype(const std::string& name) {
  if (name == "f32") return NANOCHAT_EXPORT_F32;
  if (name == "bf16") return NANOCHAT_EXPORT_BF16;
  return name == "f16" ? NANOCHAT_EXPORT_F16 : NANOCHAT_EXPORT_AS_HELD;
}

// Weights in memory that hold what the file is to hold: float16 values are exact in f32 alone.
ModelChoice loaded_for(const Export& asked) {
  ModelChoice choice = asked.model;
  if (choice.dtype == "f16") choice.dtype = "f32";
  return choice;
}

Model open_source(const Runtime& runtime, const Export& asked) {
  const ModelChoice choice = loaded_for(asked);
  return asked.synthetic.empty() ? open_model(runtime, choice)
                                 : make_random_model(runtime, asked.synthetic, choice);
}

Tokenizer open_vocabulary(const Runtime& runtime, const Export& asked) {
  const bool in_directory =
      asked.synthetic.empty() && std::filesystem::exists(asked.model.directory + "/tokenizer.json");
  if (asked.no_tokenizer || (asked.model.tokenizer.empty() && !in_directory)) return {};
  return open_tokenizer(runtime, asked.model);
}

void write_gguf(const nanochat_model* model, const nanochat_tokenizer* tokenizer, const Export& asked) {
  Progress progress("Exporting", Unit::bytes, asked.model.show());
  nanochat_model_export_options options = NANOCHAT_MODEL_EXPORT_OPTIONS_INIT;
  options.progress = Progress::on_progress;
  options.progress_user_data = &progress;
  options.cancel = interrupt_switch();
  options.dtype = export_dtype(asked.model.dtype);
  call(Exit::running, nanochat_model_export, model, tokenizer, asked.out.c_str(), &options);
}

void run_export(const Export& asked) {
  if (asked.format == "safetensors" && asked.model.dtype == "f16") {
    throw Failure(Exit::loading, "--dtype f16: a model directory is written as f32 or bf16");
  }
  const Runtime runtime = open_runtime(asked.model);
  const Model model = open_source(runtime, asked);
  if (asked.format == "gguf") {
    const Tokenizer tokenizer = open_vocabulary(runtime, asked);
    return write_gguf(model.get(), tokenizer.get(), asked);
  }
  save_model(model.get(), asked.out, asked.model);
  const Tokenizer tokenizer = open_vocabulary(runtime, asked);
  if (tokenizer) {
    call(Exit::running, nanochat_tokenizer_save, tokenizer.get(), (asked.out + "/tokenizer.json").c_str());
  }
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Write a model as GGUF, or as a directory of safetensors");
  auto asked = std::make_shared<Export>();
  CLI::Option* model = add_model_options(*command, asked->model, Tokenized::yes);
  command->remove_option(command->get_option("--dtype"));
  command
      ->add_option("--dtype", asked->model.dtype,
                   "Matrices in the file: f32, bf16 or f16; as stored if not given")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  add_synthetic_option(*command, asked->synthetic, model);
  command->add_option("--format", asked->format, "gguf (Llama models) or safetensors")
      ->check(CLI::IsMember({"gguf", "safetensors"}))
      ->capture_default_str();
  command->add_flag("--no-tokenizer", asked->no_tokenizer, "Leave the vocabulary out of the file");
  command->add_option("out", asked->out, "The file, or the directory, to write")
      ->required()
      ->type_name("OUT");
  command->callback([asked] {
    require_model(asked->model, asked->synthetic);
    run_export(*asked);
  });
}

}  // namespace nanochat::cli
