// What a dump says about the machine and this process.
#pragma once

#include "base/json.h"

namespace nanochat {

// "hostname", "os", "kernel", "uptime_seconds", "n_cpus", "pid", "rlimit_memlock", "resident_bytes",
// "open_files"; null for what the system does not say. A limit that is none is null as well.
Json system_info();

}  // namespace nanochat
