#include "warm/component_load.h"

#include <chrono>

#include "base/error.h"
#include "encoder/image_settings.h"
#include "infer/embed_text.h"
#include "model/directory_source.h"
#include "warm/component_files.h"

namespace nanochat {

namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

}  // namespace

ComponentLoader::ComponentLoader(std::shared_ptr<Device> device, const ComponentSpec& spec,
                                 const WarmConfig& config)
    : config_(config), made_(new Component), out_(*made_) {
  out_.device_ = std::move(device);
  out_.spec_ = spec;
}

void ComponentLoader::prepare() {
  const auto start = steady_clock::now();
  out_.plan_ = Component::plan(out_.spec_, config_);
  const ComponentKind kind = out_.spec_.kind;
  if (kind == ComponentKind::encoder || kind == ComponentKind::decoder)
    out_.tokenizer_ = read_tokenizer(out_.spec_, config_);
  if (kind == ComponentKind::fusion) out_.projections_ = read_projections(out_.spec_, config_);
  ReferenceFile reference = read_reference(out_.spec_, config_);
  out_.test_input_ = std::move(reference.input);
  out_.reference_ = std::move(reference.output);
  seconds_ = seconds_since(start);
}

std::unique_ptr<const Component> ComponentLoader::load(std::atomic<uint64_t>& bytes_loaded,
                                                       const Watch& watch) {
  const auto start = steady_clock::now();
  watch.check();
  const Watch counting{watch.cancel, [&](const Progress& progress) {
                         bytes_loaded.store(progress.done);
                         return !watch.on_progress || watch.on_progress(progress);
                       }};
  load_weights(counting);
  bytes_loaded.store(out_.plan_.file_bytes);
  out_.bytes_ = out_.plan_.model_bytes;
  check_checksum();
  check_test_input();
  if (config_.lock_memory && !out_.resident_.empty() &&
      out_.device_->lock(out_.resident_.data(), out_.resident_.size()))
    out_.locked_bytes_ = out_.bytes_;
  out_.load_seconds_ = seconds_ + seconds_since(start);
  return std::move(made_);
}

void ComponentLoader::load_weights(const Watch& watch) {
  const std::string folder = weights_folder(out_.spec_, config_);
  switch (out_.spec_.kind) {
    case ComponentKind::decoder:
      out_.model_ = Model::load(out_.device_, folder, model_options(out_.spec_, config_), watch);
      return keep(*out_.model_);
    case ComponentKind::encoder:
      out_.encoder_ = Encoder::load(out_.device_, folder, encoder_options(out_.spec_, config_), watch);
      set_text_options(folder);
      return keep(*out_.encoder_);
    case ComponentKind::fusion:
      out_.fusion_ = FuseMoe::load(out_.device_, folder, model_options(out_.spec_, config_), watch);
      return keep(*out_.fusion_);
    default:
      return;
  }
}

template <class M>
void ComponentLoader::keep(const M& model) {
  out_.resident_ = model.resident();
  out_.checksum_ = model.checksum();
}

void ComponentLoader::set_text_options(const std::string& folder) {
  const std::atomic<uint64_t> bytes_read{0};
  out_.images_ = told_as_load_failure(folder, out_.spec_.id, bytes_read,
                                      [&] { return image_preprocessing(folder, out_.encoder_->config()); });
  EncoderEmbedOptions& options = out_.text_options_;
  options.vectors.pooling = out_.spec_.pooling;
  options.vectors.normalization = out_.spec_.normalization;
  options.max_tokens = out_.spec_.max_tokens;
  options.truncate = true;
  options.role = out_.spec_.role;
  if (options.role != TextRole::none) options.late = late_interaction(out_.tokenizer_.get());
}

void ComponentLoader::check_checksum() const {
  const std::string& wanted = out_.spec_.checksum;
  const std::string actual = out_.checksum_.hex();
  if (wanted.empty() || config_.checks == WeightChecks::none || actual == wanted) return;
  throw validation_failure(out_.spec_,
                           format_text("the checksum of its weights is {}, expected {}", actual, wanted))
      .field("expected_checksum", wanted)
      .field("actual_checksum", actual);
}

// The reference file's input, if the test uses it.
void ComponentLoader::check_test_input() const {
  const size_t n = out_.test_input_.size();
  if (n == 0) return;
  const auto refuse = [&](const std::string& expected) {
    throw validation_failure(out_.spec_, format_text("{}: tensor 'input' has {} values, expected {}",
                                                     out_.spec_.test.reference, n, expected));
  };
  if (out_.fusion_ != nullptr) {
    const auto width = static_cast<size_t>(out_.fusion_->config().input_dim);
    if (n % width != 0) refuse(format_text("rows of {}", width));
  } else if (out_.encoder_ != nullptr && out_.encoder_->config().vision) {
    const int64_t size = out_.encoder_->config().vision->image_size;
    if (n != static_cast<size_t>(3 * size * size)) refuse(format_text("those of 3 x {} x {}", size, size));
  } else {
    refuse("none: it is tested with a text or tokens");
  }
}

std::unique_ptr<const Component> Component::load(const std::shared_ptr<Device>& device,
                                                 const ComponentSpec& spec, const WarmConfig& config,
                                                 std::atomic<uint64_t>& bytes_loaded, const Watch& watch) {
  ComponentLoader loader(device, spec, config);
  watch.check();
  loader.prepare();
  return loader.load(bytes_loaded, watch);
}

}  // namespace nanochat
