// What a model handle holds: a decoder or an encoder, and the refusal of what belongs to the other.
#pragma once

#include <memory>

#include "base/error.h"
#include "capi/handles.h"

namespace nanochat {

// Throws unsupported: the call that is named takes decoders only.
inline const std::shared_ptr<const Model>& require_decoder(const nanochat_model& model, const char* call) {
  if (model.model != nullptr) return model.model;
  throw Error(Status::unsupported)
      .subject("model")
      .say("the model is an encoder ({}), {} takes decoders only", model.encoder->config().architecture, call)
      .hint("an encoder gives vectors: nanochat_embed() and its relatives");
}

inline const Encoder& require_encoder(const nanochat_model& model, const char* call) {
  if (model.encoder != nullptr) return *model.encoder;
  throw Error(Status::unsupported)
      .subject("model")
      .say("the model is a decoder ({}), {} takes encoders only", model.model->config().architecture, call);
}

}  // namespace nanochat
