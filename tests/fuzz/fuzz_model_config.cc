// Any bytes as config.json: refused, or a document that survives writing and reading.
#include <cstdint>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/utf8.h"
#include "fuzz_property.h"

using namespace nanochat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Json document = parse_json(text, "fuzz");
    const std::string written = write_json(document);
    require_property(is_valid_utf8(written));
    require_property(write_json(parse_json(written, "again")) == written);
  } catch (const Error& error) {
    require_refusal(error);
    require_property(is_valid_utf8(error.message()));
  }
  return 0;
}
