// A model in the form of another engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "io/gguf_writer.h"
#include "model/model.h"

namespace nanochat {

// Of the matrices and tables in the file. as_held: what each is in memory (int8: f32), so that nothing is
// lost. f32 is exact for all. bf16 and f16 round to nearest.
enum class ExportDtype : int32_t { as_held = 0, f32 = 1, bf16 = 2, f16 = 3 };

// Throws unsupported, naming the architecture, for a model that GGUF readers have no architecture for.
void check_gguf_export(const ModelConfig& config);

// Writes one GGUF file of a Llama model, crash-safely and piece by piece: about 256 rows are in memory at a
// time. `vocabulary` are the tokenizer's entries (tokenizer/gguf_vocabulary.h). Progress has the stage
// "export". A value beyond the range of the dtype is unsupported, naming the tensor.
void export_gguf(const Model& model, std::vector<GgufEntry> vocabulary, const std::string& path,
                 ExportDtype dtype, const Watch& watch);

}  // namespace nanochat
