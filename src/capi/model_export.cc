#include "model/model_export.h"

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/model_kind.h"
#include "tokenizer/gguf_vocabulary.h"

using namespace nanochat;

namespace {

constexpr size_t kExportOptionsSize = 40;

nanochat_model_export_options import(const nanochat_model_export_options* options) {
  const auto known = import_options(options, "nanochat_model_export_options", kExportOptionsSize);
  require_enum(known.format, NANOCHAT_EXPORT_GGUF, "nanochat_model_export_options.format");
  require_enum(known.dtype, NANOCHAT_EXPORT_F16, "nanochat_model_export_options.dtype");
  return known;
}

std::vector<GgufEntry> vocabulary_of(const ModelConfig& config, const nanochat_tokenizer* tokenizer) {
  if (tokenizer == nullptr) return gguf_no_vocabulary();
  GgufVocabularyRequest request{config.vocab_size};
  request.bos = config.bos_token;
  if (!config.eos_tokens.empty()) request.eos = config.eos_tokens.front();
  return gguf_vocabulary(*tokenizer->tokenizer, request);
}

}  // namespace

extern "C" {

void nanochat_model_export_options_init(nanochat_model_export_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_model_export(const nanochat_model* model, const nanochat_tokenizer* tokenizer,
                                      const char* path, const nanochat_model_export_options* options,
                                      nanochat_error** error) {
  return guard(error, [&] {
    const Model& exported = *require_decoder(require_handle(model, "model"), "nanochat_model_export()");
    if (tokenizer != nullptr) require_handle(tokenizer, "tokenizer");
    const std::string file = import_path(path);
    const nanochat_model_export_options known = import(options);
    check_gguf_export(exported.config());
    export_gguf(exported, vocabulary_of(exported.config(), tokenizer), file,
                static_cast<ExportDtype>(known.dtype),
                make_watch(known.progress, known.progress_user_data, known.cancel));
  });
}

}  // extern "C"
