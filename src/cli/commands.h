// One function per command: adds it with its options; the callback does the work and throws what failure.h
// says.
#pragma once

namespace CLI {
class App;
}

namespace nanochat::cli {

void add_info_command(CLI::App& app);
void add_infer_command(CLI::App& app);
void add_chat_command(CLI::App& app);
void add_tokenizer_commands(CLI::App& app);
void add_tokenizer_train_command(CLI::App& group);
void add_forward_command(CLI::App& app);
void add_embed_command(CLI::App& app);
void add_perplexity_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_warm_command(CLI::App& app);
void add_fleet_commands(CLI::App& app);
void add_bench_commands(CLI::App& app);

}  // namespace nanochat::cli
