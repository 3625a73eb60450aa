// nanochat warm: a fleet is planned, or started, looked after and asked.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "fleet_choice.h"
#include "health_table.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLongestWatch = 86400;

struct Warm {
  FleetChoice fleet;
  std::string health = "quick";
  std::string embed;
  double watch_seconds = 0;  // 0: once
  bool json = false, plan = false;
};

// --- Plan --------------------------------------------------------------------------------------------------

std::string plan_row(const char* name, const Json& bytes, const std::string& more) {
  char text[256];
  std::snprintf(text, sizeof text, "%-24.40s %12.1f MB  %s\n", name, bytes.get<double>() * 1e-6,
                more.c_str());
  return text;
}

std::string plan_table(const Json& plan) {
  std::string text;
  for (const Json& model : plan.at("models")) {
    text += plan_row(printable(model.at("model_id").get<std::string>()).c_str(), model.at("model_bytes"),
                     std::to_string(model.at("dimension").get<int64_t>()) + " values");
  }
  text += plan_row("all weights", plan.at("model_bytes"), "");
  text += plan_row("largest pass besides", plan.at("largest_working_bytes"), "");
  text += plan_row("budget of weights", plan.at("budget_bytes"), "");
  text += plan_row("headroom to be left", plan.at("headroom_bytes"), "");
  text += plan_row("available", plan.at("device_available_bytes"),
                   "on " + printable(plan.at("device").get<std::string>()));
  return text + (plan.at("fits").get<bool>() ? "fits\n" : "does not fit\n");
}

void run_plan(const Warm& asked) {
  const Runtime runtime = open_runtime(asked.fleet.machine);
  const nanochat_warm_options options = warm_options(asked.fleet);
  nanochat_text* made = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_warm_plan(runtime.get(), asked.fleet.manifest.c_str(), &options, &made, &error);
  check(exit_of(status), status, error);
  const Text text(made);
  const Json plan = Json::parse(nanochat_text_data(text.get()));
  write_stdout(asked.json ? plan.dump() + "\n" : plan_table(plan));
  if (plan.at("fits").get<bool>()) return;
  const Json& failure = plan.at("error");
  throw Failure(exit_of(failure.at("status").get<nanochat_status>()),
                failure.at("message").get<std::string>(), failure.at("hint").get<std::string>());
}

// --- Asking ------------------------------------------------------------------------------------------------

std::vector<float> values_of(const nanochat_embeddings* embeddings) {
  const float* const values = nanochat_embeddings_values(embeddings, 0);
  const size_t n = nanochat_embeddings_rows(embeddings, 0) * nanochat_embeddings_width(embeddings);
  return values == nullptr ? std::vector<float>() : std::vector<float>(values, values + n);
}

Json routing_of(const nanochat_embeddings* embeddings) {
  const auto routing =
      fill<nanochat_routing_info>(Exit::running, nanochat_embeddings_routing, embeddings, size_t{0});
  Json experts = Json::array();
  for (size_t i = 0; i < routing.n_selected; ++i) {
    experts.push_back({{"expert", routing.selected[i]}, {"weight", routing.selected_weights[i]}});
  }
  return experts;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The text at this moment, through all parts of the fusion.
void run_embed(const Warm& asked, const Registry& fleet) {
  const char* const texts[] = {asked.embed.c_str()};
  const size_t sizes[] = {asked.embed.size()};
  const double times[] = {seconds_now()};
  nanochat_embeddings* made = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status = nanochat_registry_fuse_text(fleet.get(), nullptr, texts, sizes, times,
                                                             nullptr, 1, interrupt_switch(), &made, &error);
  check(Exit::running, status, error);
  const Embeddings fused(made);
  const std::vector<float> values = values_of(fused.get());
  const Json experts = routing_of(fused.get());
  if (asked.json) {
    const Json out = {{"text", asked.embed}, {"vector", values}, {"experts", experts}};
    return write_stdout(out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string line;
  for (const float value : values) line += (line.empty() ? "" : " ") + Json(value).dump();
  write_stdout(line + "\n");
}

// --- Health ------------------------------------------------------------------------------------------------

int32_t show_health(const Warm& asked, const Registry& fleet, bool redraw) {
  const HealthReport report = make<HealthReport>(Exit::running, nanochat_health_check, fleet.get(),
                                                 asked.health == "full" ? 1 : 0, interrupt_switch());
  const std::string wipe = redraw && !asked.json && stdout_is_terminal() ? "\x1b[H\x1b[J" : "";
  write_stdout(wipe + (asked.json ? health_json_line(report.get()) : health_table(report.get())));
  return nanochat_health_report_overall(report.get());
}

void wait(double seconds) {
  constexpr std::chrono::milliseconds kStep{50};
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    throw_if_interrupted();
    std::this_thread::sleep_for(kStep);
  }
}

void watch_health(const Warm& asked, const Registry& fleet) {
  while (true) {
    wait(asked.watch_seconds);
    show_health(asked, fleet, true);
  }
}

void run_warm(const Warm& asked) {
  if (asked.plan) return run_plan(asked);
  const Runtime runtime = open_runtime(asked.fleet.machine);
  const Registry fleet = warm_up(runtime, asked.fleet, warm_options(asked.fleet));
  if (!asked.embed.empty()) run_embed(asked, fleet);
  int32_t health = NANOCHAT_HEALTH_HEALTHY;
  if (asked.embed.empty() || asked.watch_seconds > 0)
    health = show_health(asked, fleet, asked.watch_seconds > 0);
  if (asked.watch_seconds > 0) {
    try {
      watch_health(asked, fleet);
    } catch (const Interrupted&) {
      call(Exit::running, nanochat_registry_shutdown, fleet.get(), uint64_t{0});
      throw;
    }
  }
  call(Exit::running, nanochat_registry_shutdown, fleet.get(), uint64_t{0});
  if (health != NANOCHAT_HEALTH_HEALTHY) throw Failure(Exit::loading, "the fleet is not healthy");
}

}  // namespace

void add_warm_command(CLI::App& app) {
  constexpr double kDefaultWatch = 5;
  CLI::App* command =
      app.add_subcommand("warm", "Load all models of a fleet, or none, and tell how they are");
  auto asked = std::make_shared<Warm>();
  add_fleet_options(*command, asked->fleet);
  command->add_option("--health", asked->health, "quick, or full: with a test inference of each")
      ->check(CLI::IsMember({"quick", "full"}))
      ->capture_default_str();
  command->add_flag("--json", asked->json, "JSON, one object a line");
  CLI::Option* plan =
      command->add_flag("--plan", asked->plan, "Load nothing: what would it take, and does it fit");
  command->add_option("--embed", asked->embed, "A text to embed with all models and to fuse")
      ->type_name("TEXT")
      ->excludes(plan);
  command
      ->add_option_function<std::vector<double>>(
          "--watch",
          [asked](const std::vector<double>& given) {
            asked->watch_seconds = given.empty() || given.front() <= 0 ? kDefaultWatch : given.front();
          },
          "Stay, and tell again every so many seconds (5), until Ctrl-C")
      ->expected(0, 1)
      ->check(within(0, kLongestWatch))
      ->type_name("[SECONDS]")
      ->excludes(plan);
  command->footer(
      "Settings: options, then WARM_* in the environment, then the manifest.\n"
      "Exit codes: 0 healthy, 1 not healthy or wrong usage, 101 file missing, 102 not loadable, 103 not "
      "valid,\n"
      "104 memory, 105 headroom, 106 no GPU, 107 capability, 108 allocation, 109 GPU lost, 110 dimension.");
  command->callback([asked] { run_warm(*asked); });
}

}  // namespace nanochat::cli
