#include "fleet_choice.h"

#include <charconv>
#include <map>

#include <nlohmann/json.hpp>

#include "fleet_progress.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

const std::map<std::string, int32_t> kQuantizations = {{"fp32", NANOCHAT_WARM_QUANTIZATION_FP32},
                                                       {"fp16", NANOCHAT_WARM_QUANTIZATION_FP16},
                                                       {"fp8", NANOCHAT_WARM_QUANTIZATION_FP8},
                                                       {"int8", NANOCHAT_WARM_QUANTIZATION_INT8}};

constexpr int32_t kMostLoads = 64;

struct Starting {
  FleetProgress* progress;
};

// The last place for a dump: standard error, unless nobody wants one.
void show_dump(const char* json, size_t size, const char* path, void* user_data) {
  static_cast<Starting*>(user_data)->progress->finish();
  if (*path != '\0') return write_stderr("nanochat: dump written to " + printable(path) + "\n");
  const auto dump = nlohmann::json::parse(json, json + size, nullptr, false);
  const auto configuration = dump.is_object() ? dump.find("configuration") : dump.end();
  if (configuration != dump.end() && configuration->is_object() &&
      configuration->value("diagnostic_dump_path", "-").empty()) {
    return;
  }
  write_stderr(std::string(json, size) + "\n");
}

uint64_t number_of(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

void add_fleet_options(CLI::App& command, FleetChoice& choice) {
  command.add_option("--manifest", choice.manifest, "The fleet: a JSON file, see docs/warm.md")
      ->required()
      ->type_name("FILE");
  command.add_option("--budget", choice.budget, "Bytes that all weights may take together")
      ->check(unsigned_number())
      ->type_name("BYTES");
  command.add_option("--headroom", choice.headroom, "Bytes of the device that must stay free beside them")
      ->check(unsigned_number())
      ->type_name("BYTES");
  command.add_option("--weights-path", choice.weights_path, "What paths in the manifest start from")
      ->type_name("DIR");
  command
      .add_option("--quantization", choice.quantization,
                  "Of models that the manifest says nothing about: fp32, fp16, fp8 or int8")
      ->check(CLI::IsMember({"fp32", "fp16", "fp8", "int8"}));
  command.add_option("--max-load-ms", choice.max_load_ms, "How long one component may take")
      ->check(within(1, 1e12));
  command.add_option("--parallel-loads", choice.parallel_loads, "Components that are loaded at once")
      ->check(within(1, kMostLoads));
  command.add_flag("--no-test-inference", choice.no_test, "Do not ask components for their known answers");
  CLI::Option* dump = command.add_option("--dump", choice.dump_path, "Where the dump of a failed start goes")
                          ->type_name("DIR");
  command.add_flag("--no-dump", choice.no_dump, "No dump of a failed start")->excludes(dump);
  command.add_flag("--verbose", choice.machine.verbose, "What is planned and done, on standard error");
  add_machine_options(command, choice.machine);
  command.add_flag("--no-progress", choice.machine.no_progress, "No progress on standard error");
}

nanochat_warm_options warm_options(const FleetChoice& choice) {
  nanochat_warm_options options = NANOCHAT_WARM_OPTIONS_INIT;
  call(Exit::loading, nanochat_warm_options_from_env, &options);
  if (!choice.budget.empty()) options.vram_budget_bytes = number_of(choice.budget);
  if (!choice.headroom.empty()) options.vram_headroom_bytes = number_of(choice.headroom);
  if (choice.headroom == "0") options.vram_headroom_bytes = NANOCHAT_WARM_NO_HEADROOM;
  if (!choice.weights_path.empty()) options.model_weights_path = choice.weights_path.c_str();
  if (!choice.dump_path.empty()) options.diagnostic_dump_path = choice.dump_path.c_str();
  if (choice.no_dump) options.diagnostic_dump_path = "";
  if (choice.max_load_ms != 0) options.max_load_time_per_model_ms = choice.max_load_ms;
  if (choice.no_test) options.test_inference = NANOCHAT_SWITCH_OFF;
  if (!choice.quantization.empty()) options.quantization = kQuantizations.at(choice.quantization);
  if (choice.parallel_loads != 0) options.parallel_loads = choice.parallel_loads;
  options.cancel = interrupt_switch();
  return options;
}

Registry warm_up(const Runtime& runtime, const FleetChoice& choice, nanochat_warm_options options) {
  FleetProgress progress(choice.machine.show());
  Starting starting{&progress};
  options.progress = FleetProgress::on_progress;
  options.progress_user_data = &progress;
  options.on_dump = show_dump;
  options.dump_user_data = &starting;
  nanochat_registry* registry = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_warm_load(runtime.get(), choice.manifest.c_str(), &options, &registry, &error);
  progress.finish();
  check(exit_of(status), status, error);
  return Registry(registry);
}

}  // namespace nanochat::cli
