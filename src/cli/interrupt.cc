#include "interrupt.h"

#include <atomic>
#include <csignal>

#include "failure.h"
#include "owned_handles.h"

namespace nanochat::cli {
namespace {

// A signal handler has no other way to reach its switch. Never freed: a signal may arrive until the very end.
std::atomic<nanochat_cancel*> g_switch{nullptr};
std::atomic<int> g_signal{0};
static_assert(std::atomic<nanochat_cancel*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int signal) {
  g_signal.store(signal);
  nanochat_cancel_request(g_switch.load());
}

void listen() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // no SA_RESTART: a blocked read or write has to return
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void install_interrupt() {
  g_switch.store(make<Cancel>(Exit::running, nanochat_cancel_create).release());
  listen();
}

const nanochat_cancel* interrupt_switch() { return g_switch.load(); }

int interrupt_signal() { return g_signal.load(); }

void throw_if_interrupted() {
  if (g_signal.load() != 0) throw Interrupted{};
}

void rearm_interrupt() {
  g_signal.store(0);
  nanochat_cancel_reset(g_switch.load());
  listen();
}

}  // namespace nanochat::cli
