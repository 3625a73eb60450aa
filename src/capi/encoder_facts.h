// What the header says about an encoder.
#pragma once

#include <string>

#include "encoder/encoder.h"
#include "encoder/encoder_forward.h"
#include "encoder/image_preprocess.h"
#include "nanochat.h"

namespace nanochat {

int32_t exported_weights(WeightDtype dtype);  // enum nanochat_weight_values
const char* weights_name(WeightDtype dtype);

nanochat_model_info make_info(const Encoder& encoder);
std::string describe_json(const Encoder& encoder);

// How its images are made: preprocessor_config.json of the directory if it is there, else CLIP's numbers with
// the model's size. Throws config_invalid if it makes images of another size than the model takes.
ImagePreprocessConfig image_preprocessing(const std::string& path, const EncoderConfig& config);

}  // namespace nanochat
