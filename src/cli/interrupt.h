// Ctrl-C: the first one stops the running call through the library's cancel switch, the second one the
// process.
#pragma once

#include <nanochat.h>

namespace nanochat::cli {

// Takes SIGINT and SIGTERM over. Call once, before any other thread exists.
void install_interrupt();

// The switch that those signals request; lives as long as the process.
const nanochat_cancel* interrupt_switch();

// The signal that arrived, or 0.
int interrupt_signal();

void throw_if_interrupted();

// Forgets a signal that has been dealt with, so that the next one is a first one again.
void rearm_interrupt();

}  // namespace nanochat::cli
