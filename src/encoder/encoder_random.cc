#include "encoder/encoder_random.h"

#include <algorithm>
#include <vector>

#include "base/file.h"
#include "encoder/encoder_config.h"
#include "encoder/encoder_weights.h"
#include "io/safetensors.h"
#include "model/random_source.h"

namespace nanochat {

namespace {

constexpr int64_t kRows = 1024;  // of a tensor, at a time

TensorInfo info_of(const EncoderSlot& slot) {
  TensorInfo info;
  info.name = slot.name;
  info.dtype = DType::f32;
  info.shape = slot.shape;
  return info;
}

}  // namespace

void write_random_encoder(const std::string& folder, const Json& config, uint64_t seed, const Watch& watch) {
  const std::string config_path = join_path(folder, "config.json");
  EncoderWeights places;  // that slots point to; nothing is put there
  const std::vector<EncoderSlot> slots =
      encoder_slots(parse_encoder_config(config, config_path), PoolerWeights::absent, {}, places);
  std::vector<RandomTensor> tensors;
  std::vector<TensorInfo> infos;
  for (const EncoderSlot& slot : slots) {
    tensors.push_back({&slot, slot.n_rows(), slot.mean, slot.deviation});
    infos.push_back(info_of(slot));
  }
  make_directories(folder);
  const RandomSource source(std::move(tensors), seed, DType::f32);
  SafetensorsWriter out(join_path(folder, "model.safetensors"), std::move(infos), {{"format", "pt"}});
  std::vector<std::byte> buffer;
  for (size_t i = 0; i < slots.size(); ++i) {
    for (int64_t row = 0; row < slots[i].n_rows(); row += kRows) {
      watch.check();
      out.write(source.read(i, row, std::min(kRows, slots[i].n_rows() - row), buffer));
    }
  }
  out.commit();
  write_file(config_path, write_json(config, 2) + "\n");
}

}  // namespace nanochat
