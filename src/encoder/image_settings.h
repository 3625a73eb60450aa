// How the images of a model are made.
#pragma once

#include <string>

#include "encoder/encoder_config.h"
#include "encoder/image_preprocess.h"

namespace nanochat {

// preprocessor_config.json of the directory `path` if it is there, else CLIP's numbers with the model's size.
// Throws config_invalid if it makes images of another size than the model takes.
ImagePreprocessConfig image_preprocessing(const std::string& path, const EncoderConfig& config);

}  // namespace nanochat
