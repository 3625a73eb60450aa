#include "model/decoder.h"

#include <algorithm>

#include "base/error.h"
#include "model/weight_layout.h"
#include "tensor/pass_scope.h"

namespace nanochat {

namespace {

// Rows of one sequence within a chunk.
struct Part {
  const SequenceInput* sequence;
  int64_t first_token;  // in sequence->tokens
  int64_t n_rows;
  int64_t first_row;  // in the chunk
};

void check_sequence(const Model& model, const SequenceInput& sequence) {
  if (sequence.cache == nullptr || &sequence.cache->model() != &model) {
    throw Error(Status::invalid_argument).subject("sequence").say("the KV cache belongs to another model");
  }
  if (sequence.tokens.empty()) {
    throw Error(Status::invalid_argument)
        .subject("tokens")
        .say("a sequence has no tokens, expected one at least");
  }
  const int64_t vocab_size = model.config().vocab_size;
  for (size_t i = 0; i < sequence.tokens.size(); ++i) {
    const int32_t token = sequence.tokens[i];
    if (token >= 0 && token < vocab_size) continue;
    throw Error(Status::out_of_range)
        .subject("tokens")
        .say("token {} is {}, expected 0 to {}", i, token, vocab_size - 1);
  }
  const int64_t end = sequence.cache->length() + std::ssize(sequence.tokens);
  if (end > sequence.cache->capacity()) {
    throw Error(Status::context_full)
        .subject("KV cache")
        .field("position", sequence.cache->length())
        .field("capacity", sequence.cache->capacity())
        .say("{} tokens at position {} need {} positions, the KV cache has {}", sequence.tokens.size(),
             sequence.cache->length(), end, sequence.cache->capacity());
  }
}

void check_sequences(const Model& model, std::span<const SequenceInput> sequences, const float* output) {
  std::vector<const KvCache*> caches;
  for (const SequenceInput& sequence : sequences) {
    check_sequence(model, sequence);
    if (sequence.logits != LogitRows::none && output == nullptr) {
      throw Error(Status::invalid_argument)
          .subject("output")
          .say("rows of output are asked for, but there is no room");
    }
    caches.push_back(sequence.cache);
  }
  for (const KvCache* cache : caches) {
    if (cache->options().dtype == caches.front()->options().dtype) continue;
    throw Error(Status::invalid_argument)
        .subject("sequence")
        .say("KV caches of {} and {} cannot be in one pass", dtype_name(caches.front()->options().dtype),
             dtype_name(cache->options().dtype));
  }
  std::sort(caches.begin(), caches.end());
  if (std::adjacent_find(caches.begin(), caches.end()) != caches.end()) {
    throw Error(Status::invalid_argument).subject("sequence").say("one KV cache is used by two sequences");
  }
}

// Cuts the rows of all sequences, in order, into chunks of at most kForwardRows rows.
std::vector<std::vector<Part>> cut_into_chunks(std::span<const SequenceInput> sequences) {
  std::vector<std::vector<Part>> chunks;
  int64_t free_rows = 0;
  for (const SequenceInput& sequence : sequences) {
    const int64_t n_tokens = std::ssize(sequence.tokens);
    for (int64_t first = 0; first < n_tokens;) {
      if (free_rows == 0) {
        chunks.emplace_back();
        free_rows = kForwardRows;
      }
      const int64_t n = std::min(free_rows, n_tokens - first);
      chunks.back().push_back({&sequence, first, n, kForwardRows - free_rows});
      first += n;
      free_rows -= n;
    }
  }
  return chunks;
}

// Rows of a part whose logits are wanted: they are its last ones.
int64_t wanted_rows(const Part& part) {
  switch (part.sequence->logits) {
    case LogitRows::all:
      return part.n_rows;
    case LogitRows::last:
      return part.first_token + part.n_rows == std::ssize(part.sequence->tokens) ? 1 : 0;
    case LogitRows::none:
      break;
  }
  return 0;
}

ForwardSizes largest_sizes(const std::vector<std::vector<Part>>& chunks, PassOutput what) {
  ForwardSizes sizes{0, 0};
  for (const std::vector<Part>& parts : chunks) {
    int64_t n_logits = 0;
    if (what == PassOutput::logits) {
      for (const Part& part : parts) n_logits += wanted_rows(part);
    }
    sizes.n_rows = std::max(sizes.n_rows, parts.back().first_row + parts.back().n_rows);
    sizes.n_logit_rows = std::max(sizes.n_logit_rows, n_logits);
  }
  return sizes;
}

// One chunk of rows through all layers.
class ChunkPass {
 public:
  ChunkPass(const Model& model, const ForwardBuffers& buffers, std::span<const Part> parts,
            const Watch& watch)
      : config_(model.config()),
        weights_(model.weights()),
        device_(model.device()),
        kernels_(device_.kernels()),
        buffers_(buffers),
        parts_(parts),
        watch_(watch),
        n_rows_(parts.back().first_row + parts.back().n_rows) {
    for (const Part& part : parts_) {
      const KvCache& cache = *part.sequence->cache;
      const int64_t position = cache.length() + part.first_token;
      const float* previous = position > 0 ? cache.embedding(position - 1) : nullptr;
      rows_.push_back({part.first_row, part.n_rows, position, cache.page_addresses(), previous});
      for (int64_t i = 0; i < part.n_rows; ++i) {
        ids_.push_back(part.sequence->tokens[static_cast<size_t>(part.first_token + i)]);
        positions_.push_back(static_cast<int32_t>(position + i));
      }
    }
  }

  // `trace` and its scratch [n_rows, n_embd] are absent outside of tests.
  void trace_into(const Trace* trace, float* scratch) {
    trace_ = trace;
    scratch_ = scratch;
  }

  void run_layers() {
    embed();
    for (int64_t i = 0; i < config_.n_layer; ++i) {
      watch_.check();
      run_layer(i);
      if (i == config_.backout_layer) device_.copy(buffers_.backout, buffers_.x, stream_bytes());
    }
    if (config_.backout_layer >= 0) {
      kernels_.scale_add(device_, -weights_.backout_lambda, buffers_.backout, 1.0F, buffers_.x, n_stream());
    }
  }

  // All kernels of the chunk but those of logits that do not fit into one piece: what a device may record.
  void compute(float* output, PassOutput what) {
    run_layers();
    n_wanted_ = gather_wanted();
    if (n_wanted_ == 0) return;
    norm(buffers_.normed, n_wanted_, weights_.final_norm);
    trace("final_norm", -1, buffers_.normed, n_wanted_);
    if (what == PassOutput::logits) compute_logits(0, output);
  }

  // Returns where the next chunk's output goes.
  float* deliver(float* output, PassOutput what) {
    if (what == PassOutput::states) {
      const int64_t n_values = n_wanted_ * config_.n_embd;
      device_.copy_to_host(output, buffers_.normed, static_cast<size_t>(n_values) * sizeof(float));
      return output + n_values;
    }
    for (int64_t first = 0; first < n_wanted_; first += kLogitRows) {
      if (first > 0) compute_logits(first, output);
      if (!device_.is_host()) fetch_logits(0, std::min(kLogitRows, n_wanted_ - first), first, output);
    }
    return output + n_wanted_ * config_.vocab_size;
  }

  // The same; `output` is for all rows from first_row of the pass on.
  float* deliver_top(float* output, const TopOutput& top, int64_t first_row) {
    for (int64_t first = 0; first < n_wanted_; first += kLogitRows) {
      if (first > 0) compute_logits(first, output);
      const int64_t n = std::min(kLogitRows, n_wanted_ - first), row = first_row + first;
      const auto begin = static_cast<size_t>(row), count = static_cast<size_t>(n);
      kernels_.select_top(device_, logit_rows(first, output), config_.vocab_size,
                          top.scales.subspan(begin, count), top.top.subspan(begin, count));
      if (device_.is_host()) continue;
      for (int64_t i = 0; i < n;) {
        const int64_t n_needed = count_needed(top, row + i, row + n);
        fetch_logits(i, n_needed, first + i, output);
        i += n_needed + 1;  // the row after them is one that does without
      }
    }
    return output + n_wanted_ * config_.vocab_size;
  }
  int64_t n_wanted() const { return n_wanted_; }

  // Of passes that a device may take for the same one again, with other numbers.
  uint64_t recording_key() const {
    return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&weights_)) * 0x9e3779b97f4a7c15U +
           static_cast<uint64_t>(n_rows_) * 65537 + parts_.size();
  }
  bool is_repeating() const { return n_rows_ <= kRepeatingRows && trace_ == nullptr; }

 private:
  static constexpr int64_t kRepeatingRows = 64;  // a step of decoding, not a prompt

  // Logits of kLogitRows wanted rows from `first` on: into the output, where the device can, or its own
  // buffer.
  void compute_logits(int64_t first, float* output) {
    watch_.check();
    const int64_t n = std::min(kLogitRows, n_wanted_ - first);
    float* const rows = logit_rows(first, output);
    kernels_.linear(device_, weights_.lm_head, buffers_.normed + first * config_.n_embd, config_.n_embd, n,
                    rows, config_.vocab_size, LinearOutput::store);
    if (config_.logit_softcap > 0.0F)
      kernels_.softcap(device_, rows, n * config_.vocab_size, config_.logit_softcap);
  }

  float* logit_rows(int64_t first, float* output) const {
    return device_.is_host() ? output + first * config_.vocab_size : buffers_.logits;
  }

  // n rows of the device's own buffer are rows from `to` on of the output.
  void fetch_logits(int64_t from, int64_t n, int64_t to, float* output) {
    if (n == 0) return;
    device_.copy_to_host(output + to * config_.vocab_size, buffers_.logits + from * config_.vocab_size,
                         static_cast<size_t>(n * config_.vocab_size) * sizeof(float));
  }

  // Rows from `begin` on that need all their logits, up to the first that does not.
  static int64_t count_needed(const TopOutput& top, int64_t begin, int64_t end) {
    int64_t row = begin;
    while (row < end && top.needs_all(row)) ++row;
    return row - begin;
  }

  int64_t n_stream() const { return n_rows_ * config_.n_embd; }
  size_t stream_bytes() const { return static_cast<size_t>(n_stream()) * sizeof(float); }

  // In place, rows of n_embd.
  void norm(float* rows, int64_t n, const float* weight) {
    kernels_.rms_norm(device_, rows, config_.n_embd, rows, config_.n_embd, n, 1, config_.n_embd,
                      config_.norm_eps, 1.0F, weight);
  }
  void norm_stream(const float* weight) {
    kernels_.rms_norm(device_, buffers_.x, config_.n_embd, buffers_.normed, config_.n_embd, n_rows_, 1,
                      config_.n_embd, config_.norm_eps, 1.0F, weight);
  }

  void embed() {
    const bool smears = config_.smear_channels > 0;
    float* rows = smears ? buffers_.embedding : buffers_.x;
    if (weights_.embedding != nullptr) {
      kernels_.embed(device_, weights_.embedding, weights_.table_dtype, ids_, config_.n_embd, rows);
    } else {
      kernels_.unpack_rows(device_, weights_.lm_head, ids_, rows);
    }
    if (config_.embedding_norm == EmbeddingNorm::present) norm(rows, n_rows_, nullptr);
    if (smears) {
      kernels_.smear(device_, rows_, weights_.smear_gate, config_.smear_channels, weights_.smear_lambda, rows,
                     buffers_.x, config_.n_embd);
      keep_embeddings();
    }
    if (config_.has_residual_scalars) device_.copy(buffers_.first, buffers_.x, stream_bytes());
  }

  void keep_embeddings() {
    for (size_t i = 0; i < parts_.size(); ++i) {
      const KvCache& cache = *parts_[i].sequence->cache;
      const SequenceRows& rows = rows_[i];
      for (int64_t row = 0; row < rows.n_rows;) {  // up to the end of a page at a time
        const int64_t position = rows.position + row;
        const int64_t n = std::min(kPagePositions - position % kPagePositions, rows.n_rows - row);
        device_.copy(cache.embedding(position), buffers_.embedding + (rows.first_row + row) * config_.n_embd,
                     static_cast<size_t>(n * config_.n_embd) * sizeof(float));
        row += n;
      }
    }
  }

  void run_layer(int64_t i) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(i)];
    if (config_.has_residual_scalars) {
      kernels_.scale_add(device_, layer.x0_lambda, buffers_.first, layer.resid_lambda, buffers_.x,
                         n_stream());
    }
    trace("block_in", i, buffers_.x, n_rows_);
    attend(i, layer);
    add_to_stream("attn_out", i, layer.o, buffers_.attention);
    norm_stream(layer.mlp_norm);
    add_to_stream("mlp_out", i, layer.mlp_out, run_mlp_in(layer));
    trace("block_out", i, buffers_.x, n_rows_);
  }

  void attend(int64_t i, const LayerWeights& layer) {
    const int64_t q_width = config_.n_head * config_.head_dim;
    const int64_t width = layer.qkv.n;
    float* q = buffers_.qkv;
    float* k = q + q_width;
    float* v = k + config_.n_kv_width();
    norm_stream(layer.attention_norm);
    kernels_.linear(device_, layer.qkv, buffers_.normed, config_.n_embd, n_rows_, q, width,
                    LinearOutput::store);
    if (layer.value_embedding != nullptr) {
      kernels_.value_embedding(device_, ids_, layer.value_embedding, weights_.table_dtype, layer.value_gate,
                               config_.ve_gate_channels, config_.ve_gate_scale, buffers_.normed,
                               config_.n_embd, v, width, config_.n_kv_head, config_.head_dim);
    }
    const int64_t n_rotated = config_.n_head + config_.n_kv_head;
    kernels_.rope(device_, q, width, positions_, n_rotated, config_.head_dim, weights_.rope_cos,
                  weights_.rope_sin);
    if (config_.qk_norm == QkNorm::after_rope) {
      kernels_.rms_norm(device_, q, width, q, width, n_rows_, n_rotated, config_.head_dim, config_.norm_eps,
                        config_.qk_gain, nullptr);
    }
    const KvCache& cache = *parts_.front().sequence->cache;  // of the same dtype as all others
    const AttentionShape shape{config_.n_head,       config_.n_kv_head,
                               config_.head_dim,     config_.window_left[static_cast<size_t>(i)],
                               config_.attn_scale,   cache.options().dtype,
                               cache.layer_offset(i)};
    kernels_.kv_append(device_, rows_, shape, k, v, width);
    kernels_.attention(device_, rows_, shape, q, width, buffers_.attention, q_width);
  }

  // The activation that mlp_out reads.
  const float* run_mlp_in(const LayerWeights& layer) {
    kernels_.linear(device_, layer.mlp_in, buffers_.normed, config_.n_embd, n_rows_, buffers_.hidden,
                    layer.mlp_in.n, LinearOutput::store);
    if (config_.activation == Activation::relu2) {
      kernels_.relu2(device_, buffers_.hidden, n_rows_ * config_.mlp_hidden);
      return buffers_.hidden;
    }
    kernels_.swiglu(device_, buffers_.hidden, buffers_.gated, n_rows_, config_.mlp_hidden);
    return buffers_.gated;
  }

  // x += rows * matrix. The trace shows what was added without changing how it is added.
  void add_to_stream(const char* name, int64_t layer, const PackedMatrix& matrix, const float* rows) {
    if (trace_ != nullptr) device_.copy(scratch_, buffers_.x, stream_bytes());
    kernels_.linear(device_, matrix, rows, matrix.k, n_rows_, buffers_.x, config_.n_embd, LinearOutput::add);
    if (trace_ == nullptr) return;
    kernels_.scale_add(device_, 1.0F, buffers_.x, -1.0F, scratch_, n_stream());
    trace(name, layer, scratch_, n_rows_);
  }

  // Copies the rows whose logits are wanted to `normed`, one after another.
  int64_t gather_wanted() {
    int64_t n = 0;
    for (const Part& part : parts_) {
      const int64_t wanted = wanted_rows(part);
      if (wanted == 0) continue;
      const int64_t first = part.first_row + part.n_rows - wanted;
      device_.copy(buffers_.normed + n * config_.n_embd, buffers_.x + first * config_.n_embd,
                   static_cast<size_t>(wanted * config_.n_embd) * sizeof(float));
      n += wanted;
    }
    return n;
  }

  void trace(const char* name, int64_t layer, const float* rows, int64_t n) {
    if (trace_ == nullptr) return;
    device_.synchronize();
    (*trace_)(name, layer, rows, n, config_.n_embd);
  }

  const ModelConfig& config_;
  const Weights& weights_;
  Device& device_;
  const Kernels& kernels_;
  const ForwardBuffers& buffers_;
  std::span<const Part> parts_;
  const Watch& watch_;
  int64_t n_rows_;
  int64_t n_wanted_ = 0;
  std::vector<SequenceRows> rows_;  // of parts_[i]
  std::vector<int32_t> ids_, positions_;
  const Trace* trace_ = nullptr;
  float* scratch_ = nullptr;
};

// `top`: nullptr, or where output's rows are not all wanted.
void run_pass(const Model& model, std::span<const SequenceInput> sequences, float* output, const Watch& watch,
              const Trace& trace, PassOutput what, const TopOutput* top) {
  check_sequences(model, sequences, output);
  if (sequences.empty()) return;
  for (const SequenceInput& sequence : sequences) sequence.cache->prepare(std::ssize(sequence.tokens));
  const auto chunks = cut_into_chunks(sequences);
  const ForwardSizes sizes = largest_sizes(chunks, what);
  Memory& memory = model.device().memory();
  Block block = memory.allocate(PoolKind::working, lay_out_forward(model.config(), sizes, nullptr).n_bytes,
                                "forward pass");
  const ForwardBuffers buffers = lay_out_forward(model.config(), sizes, block.as());
  Block scratch;
  if (trace) {
    scratch =
        memory.allocate(PoolKind::working,
                        static_cast<uint64_t>(sizes.n_rows * model.config().n_embd) * sizeof(float), "trace");
  }
  const PassScope scope(model.device());
  uint64_t n_done = 0;
  int64_t n_delivered = 0;  // rows
  for (const std::vector<Part>& parts : chunks) {
    ChunkPass pass(model, buffers, parts, watch);
    if (trace) pass.trace_into(&trace, scratch.as<float>());
    if (pass.is_repeating()) {
      model.device().run_recorded(pass.recording_key(), [&] { pass.compute(output, what); });
    } else {
      pass.compute(output, what);
    }
    output = top == nullptr ? pass.deliver(output, what) : pass.deliver_top(output, *top, n_delivered);
    n_delivered += pass.n_wanted();
    if (++n_done < chunks.size()) watch.report("forward", n_done, chunks.size());
  }
  model.device().synchronize();
  for (const SequenceInput& sequence : sequences) sequence.cache->advance(std::ssize(sequence.tokens));
}

}  // namespace

void forward(const Model& model, std::span<const SequenceInput> sequences, float* output, const Watch& watch,
             const Trace& trace, PassOutput what) {
  run_pass(model, sequences, output, watch, trace, what, nullptr);
}

void forward_top(const Model& model, std::span<const SequenceInput> sequences, const TopOutput& output,
                 const Watch& watch) {
  run_pass(model, sequences, output.logits, watch, {}, PassOutput::logits, &output);
}

}  // namespace nanochat
