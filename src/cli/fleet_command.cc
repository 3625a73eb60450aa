// nanochat fleet: makes a small one, records what one answers.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "fleet_choice.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

struct Init {
  ModelChoice machine;
  std::string folder;
  uint64_t seed = 1;
};

struct Record {
  FleetChoice fleet;
  std::string folder;
  std::string out = "-";
};

void run_init(const Init& asked) {
  const Runtime runtime = open_runtime(asked.machine);
  nanochat_error* error = nullptr;
  const nanochat_status status = nanochat_warm_create_sample(runtime.get(), asked.folder.c_str(), asked.seed,
                                                             interrupt_switch(), &error);
  check(exit_of(status), status, error);
  write_stdout(asked.folder + "/manifest.json\n");
}

// Old answers are not asked for: new ones take their place.
void run_record(const Record& asked) {
  const Runtime runtime = open_runtime(asked.fleet.machine);
  nanochat_warm_options options = warm_options(asked.fleet);
  options.test_inference = NANOCHAT_SWITCH_OFF;
  const Registry fleet = warm_up(runtime, asked.fleet, options);
  const Text manifest = make<Text>(Exit::running, nanochat_registry_record, fleet.get(),
                                   asked.folder.empty() ? nullptr : asked.folder.c_str(), interrupt_switch());
  OutputFile out(asked.out);
  out.write({nanochat_text_data(manifest.get()), nanochat_text_size(manifest.get())});
  out.commit();
}

}  // namespace

void add_fleet_commands(CLI::App& app) {
  CLI::App* group = app.add_subcommand("fleet", "Make a small fleet, record what a fleet answers");
  group->require_subcommand(1);

  CLI::App* init = group->add_subcommand("init", "Write a small complete fleet with random weights");
  auto made = std::make_shared<Init>();
  init->add_option("DIR", made->folder, "The folder; DIR/manifest.json is the fleet")->required();
  init->add_option("--seed", made->seed, "Another seed, another fleet")
      ->check(unsigned_number())
      ->capture_default_str();
  add_machine_options(*init, made->machine);
  init->callback([made] { run_init(*made); });

  CLI::App* record = group->add_subcommand(
      "record", "Write a fleet's answers as its reference files, and its manifest with them");
  auto asked = std::make_shared<Record>();
  add_fleet_options(*record, asked->fleet);
  record
      ->add_option("--folder", asked->folder, "Where the reference files go; 'reference' beside the manifest")
      ->type_name("DIR");
  record->add_option("--out", asked->out, "Where the manifest goes; - is standard output")
      ->type_name("FILE")
      ->capture_default_str();
  record->callback([asked] { run_record(*asked); });
}

}  // namespace nanochat::cli
