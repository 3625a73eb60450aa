// nanochat info: the library, this machine and, with --model, what a model is and takes.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "model_choice.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Info {
  ModelChoice model;
  bool json = false;
};

Json runtime_facts(const nanochat_runtime* runtime) {
  const auto memory = fill<nanochat_memory_info>(Exit::running, nanochat_runtime_memory, runtime);
  return {{"device", nanochat_runtime_device(runtime)},
          {"isa", nanochat_runtime_isa(runtime)},
          {"threads", nanochat_runtime_n_threads(runtime)},
          {"memory_total_bytes", memory.device_total_bytes},
          {"memory_available_bytes", memory.device_available_bytes}};
}

Json device_facts() {
  size_t n = 0;
  call(Exit::running, nanochat_device_count, &n);
  Json devices = Json::object();
  for (size_t i = 0; i < n; ++i) {
    nanochat_device_info info{};
    info.struct_size = sizeof info;
    call(Exit::running, nanochat_device_describe, i, &info);
    devices[info.name] = {{"hardware", info.hardware},
                          {"capability", info.capability},
                          {"memory_total_bytes", info.total_bytes},
                          {"memory_available_bytes", info.available_bytes},
                          {"is_default", info.is_default != 0}};
  }
  return devices;
}

Json plan_facts(const nanochat_runtime* runtime, const ModelChoice& choice) {
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.weights = weights_of(choice);
  const auto plan = fill<nanochat_model_plan_info>(Exit::loading, nanochat_model_plan, runtime,
                                                   choice.directory.c_str(), &options);
  return {{"file_bytes", plan.file_bytes},
          {"weight_bytes", plan.weight_bytes},
          {"kv_bytes_per_token", plan.kv_bytes_per_token},
          {"working_bytes", plan.working_bytes},
          {"parameters", plan.parameters},
          {"bytes_per_decoded_token", plan.bytes_per_decoded_token},
          {"flops_per_decoded_token", plan.flops_per_decoded_token}};
}

Json model_facts(const nanochat_model* model) {
  const auto info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, model);
  const Text details = make<Text>(Exit::running, nanochat_model_to_json, model);
  return {{"kind", info.kind == NANOCHAT_MODEL_ENCODER ? "encoder" : "decoder"},
          {"parameters", info.parameters},
          {"embedding_width", info.embedding_width},
          {"max_tokens", info.max_tokens},
          {"dtype", dtype_name(info.weights)},
          {"weight_bytes", info.weight_bytes},
          {"sequence_len", info.sequence_len},
          {"vocab_size", info.vocab_size},
          {"n_layer", info.n_layer},
          {"n_head", info.n_head},
          {"n_kv_head", info.n_kv_head},
          {"n_embd", info.n_embd},
          {"bos_token", info.bos_token},
          {"load_seconds", info.load_seconds},
          {"details", Json::parse(nanochat_text_data(details.get()))}};
}

// "group.name  value", one line each, for people.
void append_lines(const Json& facts, const std::string& prefix, std::string& text) {
  constexpr size_t kNameWidth = 34;
  for (const auto& [name, value] : facts.items()) {
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    if (value.is_object()) {
      append_lines(value, path, text);
      continue;
    }
    const size_t gap = path.size() < kNameWidth ? kNameWidth - path.size() : 1;
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    text += path + std::string(gap, ' ') + printable(shown) + "\n";
  }
}

void run_info(const Info& info) {
  const Runtime runtime = open_runtime(info.model);
  Json facts = {{"schema", "nanochat-info-1"},
                {"version", nanochat_version_string()},
                {"build", Json::parse(nanochat_build_info())},
                {"devices", device_facts()},
                {"runtime", runtime_facts(runtime.get())}};
  if (!info.model.directory.empty()) {
    facts["plan"] = plan_facts(runtime.get(), info.model);
    facts["model"] = model_facts(open_model(runtime, info.model).get());
  }
  if (info.json) return write_stdout(facts.dump() + "\n");
  facts.erase("schema");
  std::string text;
  append_lines(facts, "", text);
  write_stdout(text);
}

}  // namespace

void add_info_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("info", "Describe the library, this machine and a model");
  auto info = std::make_shared<Info>();
  add_model_options(*command, info->model, Tokenized::no);
  command->add_flag("--json", info->json, "One JSON object");
  command->callback([info] { run_info(*info); });
}

}  // namespace nanochat::cli
