// Text and cancel.
#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

extern "C" {

void nanochat_text_free(nanochat_text* text) { delete text; }
const char* nanochat_text_data(const nanochat_text* text) {
  return text == nullptr ? "" : text->data.c_str();
}
size_t nanochat_text_size(const nanochat_text* text) { return text == nullptr ? 0 : text->data.size(); }

nanochat_status nanochat_cancel_create(nanochat_cancel** out_cancel, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_cancel, "out_cancel");
    *out_cancel = new nanochat_cancel;
  });
}

void nanochat_cancel_free(nanochat_cancel* cancel) { delete cancel; }

void nanochat_cancel_request(nanochat_cancel* cancel) {
  if (cancel != nullptr) cancel->token.request();
}

void nanochat_cancel_reset(nanochat_cancel* cancel) {
  if (cancel != nullptr) cancel->token.reset();
}

int32_t nanochat_cancel_requested(const nanochat_cancel* cancel) {
  return cancel != nullptr && cancel->token.requested() ? 1 : 0;
}

}  // extern "C"
