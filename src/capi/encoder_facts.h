// What the header says about an encoder.
#pragma once

#include <string>

#include "encoder/encoder.h"
#include "encoder/encoder_forward.h"
#include "nanochat.h"

namespace nanochat {

int32_t exported_weights(WeightDtype dtype);  // enum nanochat_weight_values
const char* weights_name(WeightDtype dtype);

nanochat_model_info make_info(const Encoder& encoder);
std::string describe_json(const Encoder& encoder);

}  // namespace nanochat
