// One member of a fleet, whole in memory: a model with its tokenizer, a fusion, or a computed embedder.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/hash.h"
#include "encoder/encoder.h"
#include "encoder/fuse_moe.h"
#include "encoder/image_preprocess.h"
#include "encoder/projection.h"
#include "infer/embed_encoder.h"
#include "infer/embeddings.h"
#include "model/model.h"
#include "tensor/device.h"
#include "tokenizer/tokenizer.h"
#include "warm/manifest.h"
#include "warm/warm_config.h"

namespace nanochat {

// Known from headers alone. A load takes exactly model_bytes from the model pool.
struct ComponentPlan {
  uint64_t file_bytes = 0;     // of weights, as stored
  uint64_t model_bytes = 0;    // of weights, in the device's model pool
  uint64_t working_bytes = 0;  // of its largest pass
  uint64_t host_bytes = 0;     // of the projections of a fusion, in host memory
  int64_t n_parameters = 0;
  int64_t dimension = 0;  // of its output: a text's vector, a decoder's logits, an image's vector
  EmbeddingForm form = EmbeddingForm::dense;
};

// Tells the parts of a fusion what their components give. `plans` are those of `components`, of which the
// fusions' are not looked at. Throws config_invalid for a part that gives no vectors (a decoder, a fusion).
void resolve_fusion_parts(std::span<const ComponentSpec> components, std::span<const ComponentPlan> plans,
                          ComponentSpec& fusion);

// Immutable; share it between threads. Destroyed, it has given everything back.
class Component {
 public:
  // Reads headers. Statuses of load(), as far as headers can tell: model_file_missing, model_load_failed,
  // model_dimension_mismatch (ComponentSpec::dimension).
  static ComponentPlan plan(const ComponentSpec& spec, const WarmConfig& config);

  // All or nothing. `bytes_loaded` grows to ComponentPlan::file_bytes. Everything is read, hashed and scanned
  // in one pass; the checksum is compared with the manifest's; weights are locked in memory if the
  // configuration asks and the system lets. The test inference is not run here. Statuses: those of
  // Model::load(), model_validation_failed (checksum).
  static std::unique_ptr<const Component> load(const std::shared_ptr<Device>& device,
                                               const ComponentSpec& spec, const WarmConfig& config,
                                               std::atomic<uint64_t>& bytes_loaded, const Watch& watch);
  ~Component();

  const ComponentSpec& spec() const { return spec_; }
  const ComponentPlan& plan() const { return plan_; }
  const void* address() const { return resident_.data(); }  // of its weights on the device, or nullptr
  uint64_t bytes() const { return bytes_; }                 // of the model pool: as planned
  uint64_t locked_bytes() const { return locked_bytes_; }
  const Hash128& checksum() const { return checksum_; }  // of the stored weights
  double load_seconds() const { return load_seconds_; }

  // Exactly one is set, or none of a computed embedder.
  const std::shared_ptr<const Model>& model() const { return model_; }
  const std::shared_ptr<const Encoder>& encoder() const { return encoder_; }
  const std::shared_ptr<const FuseMoe>& fusion() const { return fusion_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }  // may be nullptr
  const ImagePreprocessConfig& images() const { return images_; }
  const std::vector<FusionProjection>& projections() const { return projections_; }  // of a fusion's parts

  // Vectors of texts, as the manifest entry says: dense, sparse, rows for tokens, or bits. Of a temporal
  // embedder texts are times or positions. Throws unsupported for a fusion, an image encoder and a model
  // without a tokenizer.
  Embeddings embed_texts(std::span<const std::string_view> texts, const Watch& watch) const;

  // The test input's output as one row of numbers: a text's vector (sparse ones with their zeros, bits as 0
  // and 1, rows for tokens one after another), an image's vector, a decoder's logits of the last token, a
  // fusion's vectors.
  std::vector<float> run_test(const Watch& watch) const;

  // XXH3-128 of the weights as they are in memory now. Takes a pass over all of them.
  Hash128 hash_resident() const;

 private:
  Component() = default;
  Embeddings embed_tokens(std::span<const std::vector<int32_t>> tokens, const Watch& watch) const;
  std::vector<float> test_decoder(const Watch& watch) const;
  std::vector<float> test_images(const Watch& watch) const;
  std::vector<float> test_fusion(const Watch& watch) const;

  ComponentSpec spec_;
  ComponentPlan plan_;
  std::shared_ptr<Device> device_;
  std::span<const std::byte> resident_;  // its weights on the device
  uint64_t bytes_ = 0, locked_bytes_ = 0;
  Hash128 checksum_;
  double load_seconds_ = 0.0;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Encoder> encoder_;
  std::shared_ptr<const FuseMoe> fusion_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ImagePreprocessConfig images_;
  EncoderEmbedOptions text_options_;  // of an encoder's texts
  std::vector<FusionProjection> projections_;
  std::vector<float> test_input_;  // the reference file's "input"
  std::vector<float> reference_;   // its "output"; empty: none
  friend class ComponentLoader;    // component_load.cc
  friend struct ComponentCheck;    // validation.cc
};

}  // namespace nanochat
