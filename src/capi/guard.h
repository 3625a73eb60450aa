// The border: inside there are exceptions, outside there are statuses. This is the only place that turns one
// into the other.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/error.h"
#include "nanochat.h"

namespace nanochat {

// Gives `*error` (if asked for) an owned copy of the failure and returns its status. Never throws: when
// memory is short the static out-of-memory error stands in.
nanochat_status deliver(nanochat_error** error, const Error& failure) noexcept;
nanochat_status deliver_out_of_memory(nanochat_error** error) noexcept;
nanochat_status deliver_unknown(nanochat_error** error, const char* what) noexcept;

// What nanochat_error_to_json() says.
std::string error_json(const Error& error);

// Runs `body`. Its last statement writes the outputs, so that they change on success only.
template <class Body>
nanochat_status guard(nanochat_error** error, Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return NANOCHAT_OK;
  } catch (const Error& failure) {
    return deliver(error, failure);
  } catch (const std::bad_alloc&) {
    return deliver_out_of_memory(error);
  } catch (const std::exception& failure) {
    return deliver_unknown(error, failure.what());
  } catch (...) {
    return deliver_unknown(error, "an exception of unknown type");
  }
}

}  // namespace nanochat
