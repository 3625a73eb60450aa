// nanochat_warm_options inside: what is said of a fleet, and what watches its loading.
#pragma once

#include "nanochat.h"
#include "warm/loader.h"
#include "warm/warm_config.h"

namespace nanochat {

// Checked. Throws invalid_argument.
nanochat_warm_options import_warm_options(const nanochat_warm_options* options);

WarmSettings warm_settings(const nanochat_warm_options& known);

// Without before_release.
LoadWatch load_watch(const nanochat_warm_options& known);

}  // namespace nanochat
