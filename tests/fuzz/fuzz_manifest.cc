// Any bytes as a fleet's manifest: refused by a status of its own with a sentence that can be shown, or a
// fleet in which every dependency is there and can be loaded in some order.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "fuzz_property.h"
#include "warm/manifest.h"
#include "warm/registry.h"

using namespace nanochat;

namespace {

void require_sound(const Manifest& manifest) {
  require_property(!manifest.components.empty());
  std::vector<RegistryItem> items;
  for (const ComponentSpec& spec : manifest.components) {
    require_property(!spec.id.empty() && spec.dimension >= 0 && spec.test.max_ms > 0);
    require_property(spec.path.empty() != has_weights(spec.kind));
    require_property(spec.parts.empty() == (spec.kind != ComponentKind::fusion));
    require_property(spec.path.find('\0') == std::string::npos);
    items.push_back({spec, {}});
  }
  const auto registry = Registry::create(std::move(items));
  require_property(registry->loading_order().size() == manifest.components.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    require_sound(parse_manifest({reinterpret_cast<const char*>(data), size}, "fleet.json"));
  } catch (const Error& error) {
    const Status status = error.status();
    require_property(status == Status::format_invalid || status == Status::config_invalid ||
                     status == Status::model_already_registered || status == Status::model_not_registered);
    require_property(!error.message().empty() && error.message().size() < 4000);
    require_property(is_valid_utf8(error.message()));
  }
  return 0;
}
