// What one instruction set supplies: bodies over ranges, on raw pointers. src/kernels/*.cc cuts the work over
// threads and calls them.
//
// An isa_<name>.cc is compiled for processors that this machine may not be, so it must not emit an inline or
// template function that the linker could choose for everybody. Hence no standard containers here, and
// everything in the .inc files is in an unnamed namespace. tests/abi/isa_symbols.sh checks the objects.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/f8.h"
#include "kernels/int8.h"
#include "tensor/activation.h"
#include "tensor/dtype.h"
#include "tensor/kv_page.h"

namespace nanochat {

struct LinearTask {
  DType dtype;
  int64_t n, k;
  const void* w;  // packed panels
  const void* x;  // f32 weights: floats; else what prepare_rows() made of them
  int64_t x_row_bytes;
  float* y;
  int64_t ldy;
  int64_t add;  // 1: y += , 0: y =
};

// Some rows of one sequence under one key-value head.
struct AttentionTask {
  const float* q;  // of the unit's first row and head
  float* y;
  int64_t ldq, ldy;  // between rows; heads of a row lie head_dim apart
  const std::byte* const* pages;
  DType dtype;                             // of the pages
  int64_t k_offset, v_offset;              // of this head's K and V in a page, in bytes
  int64_t k_scale_offset, v_scale_offset;  // i8
  int64_t position;                        // of the first row
  int64_t n_rows, n_heads;                 // heads share k and v
  int64_t head_dim, window_left, window_right, global_keys;
  int64_t n_keys;  // in the pages
  float scale;
  const float* bias;  // of the unit's first head; those of the others follow
  int64_t bias_reach;
  // A part of the work, for threads that would idle: what is computed of V and y, in places of head_dim, and
  // the scores that attention_scores() has left, [pages from the first that is seen][queries][64]; nullptr:
  // to be computed.
  int64_t value_first, value_width;
  const float* scores;
};

// Rows of one sequence under one key-value head that lie in one page.
struct AppendTask {
  const float *k, *v;  // of the first row and the head
  int64_t ld;          // between rows
  int64_t first_key, n_keys, head_dim;
  DType dtype;
  std::byte *k_page, *v_page;  // the head's
  float *k_scales, *v_scales;  // i8: [64]
};

struct PackTask {
  const void* source;  // [n_rows, k]
  DType source_dtype;
  const float* source_scales;  // of rows of i8 or f8_e4m3
  DType target_dtype;
  int64_t first_row, n_rows, n, k;
  void* target;
};

// Rows that follow one another within one panel.
struct UnpackTask {
  const void* data;  // of the packed matrix
  DType dtype;
  int64_t k;
  int64_t first_row, n_rows;
  float* target;  // [n_rows, k]
};

struct ValueEmbeddingTask {
  const int32_t* ids;
  const void* table;
  DType dtype;
  const float* gate;
  int64_t n_channels;
  float scale;
  const float* x;
  int64_t ldx;
  float* v;
  int64_t ldv, n_kv_head, head_dim;
};

struct SimdBodies {
  // linear. For weights of bf16, i8 and f8_e4m3: the bytes of a row of x as linear reads it, and rows
  // begin..end made so. Then a rectangle of y.
  int64_t (*prepared_row_bytes)(DType dtype, int64_t k);
  void (*prepare_rows)(DType dtype, const float* x, int64_t ldx, int64_t k, int64_t begin, int64_t end,
                       void* prepared);
  void (*linear)(const LinearTask& task, int64_t panel, int64_t row_begin, int64_t row_end);

  // attention. At most attention_max_queries rows * heads in one task; scratch aligned to 64 bytes.
  int64_t attention_max_queries;
  int64_t (*attention_scratch_bytes)(const AttentionTask& task, int64_t n_queries);
  void (*attention)(const AttentionTask& task, void* scratch);
  // Pages begin..end-1, counted from the first one that is seen. Gives attention() the same bits as its own.
  void (*attention_scores)(const AttentionTask& task, int64_t begin, int64_t end, float* scores,
                           void* scratch);
  void (*kv_append)(const AppendTask& task);

  // weights. pack_panel returns the first index of the source that is not finite, or -1.
  int64_t (*pack_panel)(const PackTask& task, int64_t panel);
  void (*unpack_panel)(const UnpackTask& task);
  int64_t (*find_not_finite)(const void* data, DType dtype, int64_t begin, int64_t end);
  void (*widen)(const void* source, DType dtype, int64_t first, int64_t n, float* target);

  void (*rms_norm)(const float* x, float* y, int64_t width, float eps, float gain, const float* weight);
  void (*layer_norm)(const float* x, float* y, int64_t width, float eps, const float* weight,
                     const float* bias);
  void (*rope)(float* x, int64_t n_heads, int64_t head_dim, const float* cos, const float* sin);
  void (*relu2)(float* x, int64_t n);
  void (*swiglu)(const float* gate, const float* up, float* y, int64_t n);
  void (*scale_add)(float a, const float* x, float b, float* y, int64_t n);
  void (*bias_activation)(float* x, int64_t n, const float* bias, RowActivation activation);
  void (*softcap)(float* x, int64_t n, float cap);
  int64_t (*find_largest)(const float* x, int64_t n, float* largest);  // -1: see SoftmaxStats
  double (*sum_exponentials)(const float* x, int64_t n, float largest, float scale);
  void (*value_embedding)(const ValueEmbeddingTask& task, int64_t begin, int64_t end);
  void (*smear)(const float* gate, int64_t n_channels, float lambda, const float* x, const float* previous,
                float* y, int64_t width);

  // What the machine can do: see kernels/rates.h.
  int64_t (*f32_multiply_add)(int64_t iterations);
  int64_t (*bf16_multiply_add)(int64_t iterations);
  int64_t (*int8_multiply_add)(int64_t iterations);
  float (*sum)(const float* data, int64_t n);
};

extern const SimdBodies kAvx2Bodies;
extern const SimdBodies kAvx512Bodies;
extern const SimdBodies kAvx512Bf16Bodies;
extern const SimdBodies kNeonBodies;
extern const SimdBodies kNeonDotBodies;
extern const SimdBodies kNeonBf16Bodies;

}  // namespace nanochat
