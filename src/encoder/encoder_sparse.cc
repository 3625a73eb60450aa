// Texts to weights of the vocabulary.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "encoder/encoder_batch.h"
#include "encoder/encoder_forward.h"

namespace nanochat {

namespace {

SparseVector sparse_of(std::span<const float> largest, int32_t n_logs) {
  SparseVector vector;
  for (size_t i = 0; i < largest.size(); ++i) {
    if (!(largest[i] > 0.0F)) continue;
    auto weight = static_cast<double>(largest[i]);
    for (int32_t log = 0; log < n_logs; ++log) weight = std::log1p(weight);
    vector.tokens.push_back(static_cast<int32_t>(i));
    vector.weights.push_back(static_cast<float>(weight));
  }
  return vector;
}

// The masked-language-model head over the states of a pass. log(1 + relu(x)) grows with x, so the largest
// logit of all tokens is found first.
class SparseHead {
 public:
  SparseHead(const Encoder& encoder, const FinishedTexts& done)
      : encoder_(encoder),
        done_(done),
        device_(encoder.device()),
        width_(encoder.config().text->n_embd),
        vocab_size_(encoder.config().text->vocab_size) {}

  void transform() {
    const EncoderWeights& weights = encoder_.weights();
    const TowerBuffers& buffers = done_.buffers;
    apply_linear(device_, weights.head_transform, {buffers.x, width_, buffers.normed, width_, done_.n_rows},
                 LinearOutput::store, encoder_.config().head_activation);
    done_.pass.norm(weights.head_norm, buffers.normed, buffers.normed, done_.n_rows);
  }

  // Texts first..end, which have kSparseRows rows at most; or one longer text.
  void write(size_t first, size_t end, std::vector<SparseVector>& output) {
    std::vector<RowRange> ranges;
    float* largest = done_.buffers.largest;
    if (const InputRows& only = done_.rows[first]; only.n_rows > kSparseRows) {
      largest = write_long(only);
    } else {
      const int64_t first_row = only.first_row;
      for (size_t i = first; i < end; ++i)
        ranges.push_back({done_.rows[i].first_row - first_row, done_.rows[i].n_keys});
      const InputRows& last = done_.rows[end - 1];
      compute(first_row, last.first_row + last.n_rows - first_row);
      pool(ranges, done_.buffers.logits, largest);
    }
    std::vector<float> values(static_cast<size_t>(vocab_size_));
    for (size_t i = first; i < end; ++i) {
      device_.copy_to_host(values.data(), largest + static_cast<int64_t>(i - first) * vocab_size_,
                           values.size() * sizeof(float));
      output.push_back(sparse_of(values, encoder_.config().n_sparse_logs));
    }
  }

 private:
  // Pieces of a text, then the largest of them.
  float* write_long(const InputRows& rows) {
    float* const pieces = done_.buffers.largest + vocab_size_;
    int64_t n_pieces = 0;
    for (int64_t row = 0; row < rows.n_keys; row += kSparseRows) {
      const RowRange range{0, std::min(kSparseRows, rows.n_keys - row)};
      compute(rows.first_row + row, range.n);
      pool({&range, 1}, done_.buffers.logits, pieces + n_pieces++ * vocab_size_);
    }
    const RowRange all{0, n_pieces};
    pool({&all, 1}, pieces, done_.buffers.largest);
    return done_.buffers.largest;
  }

  void compute(int64_t first_row, int64_t n_rows) {
    apply_linear(
        device_, encoder_.weights().vocabulary,
        {done_.buffers.normed + first_row * width_, width_, done_.buffers.logits, vocab_size_, n_rows},
        LinearOutput::store, RowActivation::relu);
  }
  void pool(std::span<const RowRange> ranges, const float* rows, float* largest) {
    device_.kernels().pool_rows(device_, ranges, rows, vocab_size_, vocab_size_, RowPooling::max, largest);
  }

  const Encoder& encoder_;
  const FinishedTexts& done_;
  Device& device_;
  int64_t width_, vocab_size_;
};

}  // namespace

std::vector<SparseVector> encode_sparse(const Encoder& encoder, std::span<const TextInput> texts,
                                        const Watch& watch) {
  require_text_tower(encoder);
  if (encoder.config().head != EncoderHead::sparse) {
    throw Error(Status::unsupported)
        .subject("encoder")
        .say("the model gives dense vectors, not weights of its vocabulary");
  }
  std::vector<SparseVector> output;
  run_texts(encoder, texts, 0, watch, [&](const FinishedTexts& done) {
    SparseHead head(encoder, done);
    head.transform();
    for (size_t first = 0; first < done.texts.size();) {
      watch.check();
      size_t end = first + 1;
      int64_t n_rows = done.rows[first].n_rows;
      while (end < done.texts.size() && n_rows + done.rows[end].n_rows <= kSparseRows)
        n_rows += done.rows[end++].n_rows;
      head.write(first, end, output);
      first = end;
    }
  });
  return output;
}

}  // namespace nanochat
