// Any bytes as config.json: refused, or a document that survives writing and reading; and as a model's
// configuration refused, or one that survives the same.
#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "base/utf8.h"
#include "fuzz_property.h"
#include "model/config.h"

using namespace nanochat;

namespace {

void parse_as_model(const Json& document) {
  try {
    const NamedShape tensors[] = {{"resid_lambdas", {1}}, {"transformer.h.0.attn.ve_gate.weight", {1, 12}}};
    const ModelConfig config = parse_model_config(document, "config.json", tensors);
    require_property(parse_model_config(model_config_json(config), "again") == config);
  } catch (const Error& error) {
    require_property(error.status() == Status::config_invalid ||
                     error.status() == Status::format_unsupported);
    require_property(is_valid_utf8(error.message()) && error.message().size() < 4000);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Json document = parse_json(text, "fuzz");
    const std::string written = write_json(document);
    require_property(is_valid_utf8(written));
    require_property(write_json(parse_json(written, "again")) == written);
    parse_as_model(document);
  } catch (const Error& error) {
    require_refusal(error);
    require_property(is_valid_utf8(error.message()));
  }
  return 0;
}
