// The public error object, and the delivery side of guard.h.
#include <string>
#include <vector>

#include "base/json_text.h"
#include "capi/guard.h"

// Plain pointers, so that the static out-of-memory error needs no allocation; `owned` backs them otherwise.
struct nanochat_error {
  struct Owned {
    nanochat::Error error;
    std::string json;
  };
  nanochat_status status = NANOCHAT_STATUS_OUT_OF_MEMORY;
  const char* message = "out of memory";
  const char* json =
      "{\"schema\":\"nanochat.error.v1\",\"status\":40,\"name\":\"OUT_OF_MEMORY\",\"code\":\"ERR-OUT-OF-"
      "MEMORY\","
      "\"category\":\"MEMORY\",\"fatal\":false,\"message\":\"out of memory\",\"subject\":\"\",\"hint\":\"\","
      "\"os_code\":0,\"fields\":{},\"cause\":null}";
  nanochat_error* cause = nullptr;
  Owned* owned = nullptr;

  constexpr nanochat_error() = default;
  nanochat_error(const nanochat_error&) = delete;
  nanochat_error& operator=(const nanochat_error&) = delete;
  ~nanochat_error() {
    delete cause;
    delete owned;
  }
};

namespace nanochat {

namespace {

constinit nanochat_error out_of_memory_error;  // never freed, never changed

void append_fields(std::string& out, const std::vector<Error::Field>& fields) {
  const char* separator = "";
  for (const Error::Field& field : fields) {
    out += separator + quote_json(field.name) + ":" + field.json;
    separator = ",";
  }
}

void append_error(std::string& out, const Error& error) {
  const auto status = static_cast<nanochat_status>(error.status());
  const auto add_text = [&](const char* key, std::string_view text) {
    out += std::string(",\"") + key + "\":";
    append_json_string(out, text);
  };
  out += "{\"schema\":\"nanochat.error.v1\",\"status\":" + std::to_string(status);
  add_text("name", nanochat_status_name(status));
  add_text("code", nanochat_status_code_string(status));
  add_text("category", nanochat_status_category(status));
  out += nanochat_status_is_fatal(status) != 0 ? ",\"fatal\":true" : ",\"fatal\":false";
  add_text("message", error.message());
  add_text("subject", error.subject());
  add_text("hint", error.hint());
  out += ",\"os_code\":" + std::to_string(error.os_code()) + ",\"fields\":{";
  append_fields(out, error.fields());
  out += "},\"cause\":";
  if (error.cause() == nullptr) {
    out += "null";
  } else {
    append_error(out, *error.cause());
  }
  out += '}';
}

std::unique_ptr<nanochat_error> make_error(const Error& failure) {
  auto error = std::make_unique<nanochat_error>();
  error->owned = new nanochat_error::Owned{failure, error_json(failure)};
  error->status = static_cast<nanochat_status>(failure.status());
  error->message = error->owned->error.message().c_str();
  error->json = error->owned->json.c_str();
  if (failure.cause() != nullptr) error->cause = make_error(*failure.cause()).release();
  return error;
}

}  // namespace

std::string error_json(const Error& error) {
  std::string json;
  append_error(json, error);
  return json;
}

nanochat_status deliver_out_of_memory(nanochat_error** error) noexcept {
  if (error != nullptr) *error = &out_of_memory_error;
  return NANOCHAT_STATUS_OUT_OF_MEMORY;
}

nanochat_status deliver(nanochat_error** error, const Error& failure) noexcept {
  if (error != nullptr) {
    try {
      *error = make_error(failure).release();
    } catch (...) {
      *error = &out_of_memory_error;
    }
  }
  return static_cast<nanochat_status>(failure.status());
}

nanochat_status deliver_unknown(nanochat_error** error, const char* what) noexcept {
  try {
    return deliver(error, Error(Status::internal).say("unexpected failure inside the library: {}", what));
  } catch (...) {
    return deliver_out_of_memory(error);
  }
}

}  // namespace nanochat

extern "C" {

void nanochat_error_free(nanochat_error* error) {
  if (error != &nanochat::out_of_memory_error) delete error;
}

nanochat_status nanochat_error_status(const nanochat_error* error) {
  return error == nullptr ? NANOCHAT_OK : error->status;
}

const char* nanochat_error_message(const nanochat_error* error) {
  return error == nullptr ? "" : error->message;
}

const char* nanochat_error_subject(const nanochat_error* error) {
  return error == nullptr || error->owned == nullptr ? "" : error->owned->error.subject().c_str();
}

const char* nanochat_error_hint(const nanochat_error* error) {
  return error == nullptr || error->owned == nullptr ? "" : error->owned->error.hint().c_str();
}

int32_t nanochat_error_os_code(const nanochat_error* error) {
  return error == nullptr || error->owned == nullptr ? 0 : error->owned->error.os_code();
}

const nanochat_error* nanochat_error_cause(const nanochat_error* error) {
  return error == nullptr ? nullptr : error->cause;
}

size_t nanochat_error_field_count(const nanochat_error* error) {
  return error == nullptr || error->owned == nullptr ? 0 : error->owned->error.fields().size();
}

const char* nanochat_error_field_name(const nanochat_error* error, size_t index) {
  return index < nanochat_error_field_count(error) ? error->owned->error.fields()[index].name.c_str() : "";
}

const char* nanochat_error_field_value(const nanochat_error* error, size_t index) {
  return index < nanochat_error_field_count(error) ? error->owned->error.fields()[index].text.c_str() : "";
}

const char* nanochat_error_to_json(const nanochat_error* error) {
  return error == nullptr ? "" : error->json;
}

}  // extern "C"
