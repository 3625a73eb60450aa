// The reference bodies: the obvious loops behind reference_kernels(). Contracts: tensor/kernels.h.
#pragma once

#include "tensor/kernels.h"

namespace nanochat::reference {

int64_t pack_rows(Device& device, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                  const void* source, DType source_dtype, const float* source_scales);
void unpack_rows(Device& device, const PackedMatrix& source, std::span<const int32_t> rows, float* target);
int64_t find_not_finite(Device& device, const void* data, DType dtype, int64_t n);

void hash_pieces(Device& device, const void* data, int64_t n_bytes, int64_t piece_bytes,
                 std::span<Hash128> hashes);

void embed(Device& device, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
           float* target);
void linear(Device& device, const PackedMatrix& w, const float* x, int64_t ldx, int64_t m, float* y,
            int64_t ldy, LinearOutput output);
void rms_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
              int64_t n_groups, int64_t width, float eps, float gain, const float* weight);
void layer_norm(Device& device, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t n_rows,
                int64_t width, float eps, const float* weight, const float* bias);
void rope(Device& device, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
          int64_t head_dim, const float* cos, const float* sin);
void kv_append(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* k, const float* v, int64_t ld);
void attention(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy);
void pool_rows(Device& device, std::span<const RowRange> ranges, const float* x, int64_t ldx, int64_t width,
               RowPooling pooling, float* y);

void relu2(Device& device, float* x, int64_t n);
void swiglu(Device& device, const float* x, float* y, int64_t n_rows, int64_t width);
void scale_add(Device& device, float a, const float* x, float b, float* y, int64_t n);
void multiply(Device& device, float* x, int64_t ldx, const float* factor, int64_t ldf, int64_t n_rows,
              int64_t width);
void bias_activation(Device& device, float* x, int64_t ldx, int64_t n_rows, int64_t width, const float* bias,
                     RowActivation activation);
void softcap(Device& device, float* x, int64_t n, float cap);
SoftmaxStats softmax_stats(Device& device, const float* x, int64_t n, float scale);
void select_top(Device& device, const float* x, int64_t n, std::span<const float> scales,
                std::span<TopLogits> top);

void value_embedding(Device& device, std::span<const int32_t> ids, const void* table, DType dtype,
                     const float* gate, int64_t n_channels, float scale, const float* x, int64_t ldx,
                     float* v, int64_t ldv, int64_t n_kv_head, int64_t head_dim);
void smear(Device& device, std::span<const SequenceRows> sequences, const float* gate, int64_t n_channels,
           float lambda, const float* x, float* y, int64_t width);

MeasuredRates measure_rates(Device& device);

}  // namespace nanochat::reference
