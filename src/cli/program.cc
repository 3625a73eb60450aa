// The `nanochat` program: commands, signals and exit codes.
#include <nanochat.h>

#include <csignal>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "failure.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr int kSignalExit = 128;

void add_commands(CLI::App& app) {
  app.set_version_flag("--version", std::string("nanochat ") + nanochat_version_string(),
                       "Print the version");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 wrong usage or an input that cannot be loaded, 2 the work failed, 130 Ctrl-C;\n"
      "of 'warm' and 'fleet' also 101 to 110, one for each way in which a start can fail.\n"
      "'nanochat COMMAND --help' tells more.");
  app.get_formatter()->column_width(34);
  add_infer_command(app);
  add_chat_command(app);
  add_info_command(app);
  add_tokenizer_commands(app);
  add_forward_command(app);
  add_embed_command(app);
  add_perplexity_command(app);
  add_export_command(app);
  add_quantize_command(app);
  add_warm_command(app);
  add_fleet_commands(app);
  add_bench_commands(app);
}

const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.front());
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

int usage_failure(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = deepest(app);
  const auto unknown = command.remaining();
  // CLI11 would only say that a command is missing.
  const bool misspelt = !unknown.empty() && command.get_require_subcommand_min() > 0;
  const std::string message = misspelt ? "there is no command '" + unknown.front() + "'" : error.what();
  write_stderr(Failure(Exit::loading, message, "try '" + full_name(command) + " --help'").report());
  return static_cast<int>(Exit::loading);
}

int run(int argc, char** argv) {
  CLI::App app("Language models in one C library: run them, talk to them, measure them.", "nanochat");
  try {
    nanochat_error* error = nullptr;
    const nanochat_status status = nanochat_check_version(NANOCHAT_VERSION_NUMBER, &error);
    if (status != NANOCHAT_OK) throw Failure(Exit::loading, status, error);
    install_interrupt();
    add_commands(app);
    app.parse(argc, argv);
    return static_cast<int>(Exit::ok);
  } catch (const CLI::CallForHelp&) {
    write_stdout(app.help());
    return static_cast<int>(Exit::ok);
  } catch (const CLI::CallForVersion& version) {
    write_stdout(std::string(version.what()) + "\n");
    return static_cast<int>(Exit::ok);
  } catch (const CLI::ParseError& error) {
    return usage_failure(app, error);
  }
}

int run_to_exit_code(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const ReaderLeft&) {
    return static_cast<int>(Exit::ok);
  } catch (const Interrupted&) {
    write_stderr("nanochat: interrupted\n");
    return kSignalExit + (interrupt_signal() != 0 ? interrupt_signal() : SIGINT);
  } catch (const Failure& failure) {
    write_stderr(failure.report());
    return static_cast<int>(failure.exit());
  } catch (const std::exception& error) {
    write_stderr(Failure(Exit::running, error.what()).report());
    return static_cast<int>(Exit::running);
  }
}

}  // namespace
}  // namespace nanochat::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is seen by write(), so that temporary files are removed
  return nanochat::cli::run_to_exit_code(argc, argv);
}
