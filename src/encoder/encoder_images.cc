// Images to vectors.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "encoder/encoder_batch.h"
#include "encoder/encoder_forward.h"
#include "encoder/encoder_head.h"
#include "tensor/pass_scope.h"

namespace nanochat {

namespace {

const TowerConfig& require_vision_tower(const Encoder& encoder) {
  if (encoder.config().vision) return *encoder.config().vision;
  throw Error(Status::unsupported).subject("encoder").say("the model encodes texts, not images");
}

void check_image(const TowerConfig& tower, std::span<const float> pixels, size_t index) {
  const int64_t n_values = 3 * tower.image_size * tower.image_size;
  if (std::ssize(pixels) != n_values) {
    throw Error(Status::invalid_argument)
        .subject("images")
        .say("image {} has {} values, expected {}: 3 channels of {} x {}", index, pixels.size(), n_values,
             tower.image_size, tower.image_size);
  }
  const auto bad = std::find_if(pixels.begin(), pixels.end(), [](float x) { return !std::isfinite(x); });
  if (bad == pixels.end()) return;
  throw Error(Status::invalid_argument)
      .subject("images")
      .say("image {}: value {} is {}, expected a finite number", index, bad - pixels.begin(), *bad);
}

}  // namespace

int64_t image_width(const Encoder& encoder) {
  require_vision_tower(encoder);
  return image_width(encoder.config());
}

void encode_images(const Encoder& encoder, std::span<const std::span<const float>> images,
                   Normalization normalization, float* output, const Watch& watch) {
  const TowerConfig& tower = require_vision_tower(encoder);
  for (size_t i = 0; i < images.size(); ++i) check_image(tower, images[i], i);
  if (images.empty()) return;
  const std::vector<PassRange> passes = cut_into_passes(std::vector<int64_t>(images.size(), tower.max_rows));
  const auto rows_of = [&](const PassRange& pass) {
    std::vector<InputRows> rows;
    for (size_t i = pass.first; i < pass.end; ++i)
      rows.push_back(
          {static_cast<int64_t>(i - pass.first) * tower.max_rows, tower.max_rows, tower.max_rows, 0});
    return rows;
  };
  PassMemory memory(encoder, tower);
  for (const PassRange& pass : passes) memory.make_room(tower_sizes(tower, rows_of(pass)));
  memory.allocate();
  Device& device = encoder.device();
  const PassScope scope(device);
  uint64_t n_done = 0;
  for (const PassRange& range : passes) {
    const std::vector<InputRows> rows = rows_of(range);
    const TowerBuffers buffers = memory.buffers(tower_sizes(tower, rows));
    TowerPass pass(encoder, tower, encoder.weights().vision, buffers, rows);
    pass.embed_images(images.subspan(range.first, range.end - range.first));
    pass.run_layers(watch);
    std::vector<RowRange> ranges;
    for (const InputRows& one : rows) ranges.push_back({one.first_row, 1});
    device.kernels().pool_rows(device, ranges, buffers.x, tower.n_embd, tower.n_embd, RowPooling::mean,
                               buffers.pooled);
    pass.norm(encoder.weights().vision.final_norm, buffers.pooled, buffers.pooled, std::ssize(rows));
    VectorHead head(encoder, buffers, std::ssize(rows), tower.n_embd);
    if (encoder.config().head == EncoderHead::projection)
      head.apply(encoder.weights().vision.projection, RowActivation::none);
    output = head.write(wants_unit(encoder, normalization), output);
    if (++n_done < passes.size()) watch.report("encode", n_done, passes.size());
  }
  device.synchronize();
}

}  // namespace nanochat
