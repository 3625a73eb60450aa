// The bodies of the kernel table for NVIDIA GPUs: one stem a file, contracts in tensor/kernels.h.
#pragma once

#include "tensor/kernels.h"

namespace nanochat::cuda {

int64_t pack_rows(Device&, const PackedMatrix& target, int64_t first_row, int64_t n_rows, const void* source,
                  DType source_dtype, const float* source_scales);
void unpack_rows(Device&, const PackedMatrix& source, std::span<const int32_t> rows, float* target);
int64_t find_not_finite(Device&, const void* data, DType dtype, int64_t n);
void hash_pieces(Device& device, const void* data, int64_t n_bytes, int64_t piece_bytes,
                 std::span<Hash128> hashes);

void embed(Device&, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
           float* target);
void linear(Device&, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y, int64_t ldy,
            LinearOutput output);
void rms_norm(Device&, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows, int64_t n_groups,
              int64_t width, float eps, float gain, const float* weight);
void layer_norm(Device&, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows, int64_t width,
                float eps, const float* weight, const float* bias);
void rope(Device&, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
          int64_t head_dim, const float* cos, const float* sin);
void kv_append(Device&, std::span<const SequenceRows> sequences, const AttentionShape& shape, const float* k,
               const float* v, int64_t ld);
void attention(Device&, std::span<const SequenceRows> sequences, const AttentionShape& shape, const float* q,
               int64_t ldq, float* y, int64_t ldy);
void pool_rows(Device&, std::span<const RowRange> ranges, const float* x, int64_t ldx, int64_t width,
               RowPooling pooling, float* y);
void relu2(Device&, float* x, int64_t n);
void swiglu(Device&, const float* x, float* y, int64_t n_rows, int64_t width);
void scale_add(Device&, float a, const float* x, float b, float* y, int64_t n);
void multiply(Device&, float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
              int64_t width);
void bias_activation(Device&, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                     RowActivation activation);
void softcap(Device&, float* x, int64_t n, float cap);
SoftmaxStats softmax_stats(Device&, const float* x, int64_t n, float scale);
void select_top(Device&, const float* x, int64_t n, std::span<const float> scales, std::span<TopLogits> top);
void value_embedding(Device&, std::span<const int32_t> ids, const void* table, DType dtype, const float* gate,
                     int64_t n_channels, float scale, const float* x, int64_t ldx, float* v, int64_t ldv,
                     int64_t n_kv_head, int64_t head_dim);
void smear(Device&, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
           float lambda, const float* x, float* y, int64_t width);
MeasuredRates measure_rates(Device&);

}  // namespace nanochat::cuda
