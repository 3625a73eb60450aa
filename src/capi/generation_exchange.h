// What generations and requests of a scheduler take and give across the border.
#pragma once

#include <cstddef>

#include "capi/handles.h"
#include "infer/generation.h"
#include "nanochat.h"

namespace nanochat {

inline constexpr size_t kGenerationOptionsSize = 152;
inline constexpr size_t kEventSize = 72;

GenerationOptions import_generation(const nanochat_generation_options& known);

// Keeps `event` in `shown`, which owns what the public event points to.
nanochat_generation_event show_event(GenerationEvent event, ShownEvent& shown) noexcept;

}  // namespace nanochat
