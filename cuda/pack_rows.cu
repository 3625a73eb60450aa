// Weights into the order that linear() reads, converted on the way, and back. What is stored, and which
// scales, are the CPU's to the bit: divisions are IEEE divisions.
//
// Floor: the bytes of the source over the link to the host (about 55 GB/s of PCIe 5): the kernels, which move
// two or three bytes of device memory for each of them, are a hundredth of that. A chunk is one copy and one
// kernel; what limits is how many chunks the loader's threads have on their way, hence the lanes of uploads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <hardware/ptx.h>

#include "device/launch.h"
#include "device/upload.h"
#include "hardware/element.h"
#include "hardware/f8.h"
#include "hardware/grid.h"
#include "kernels/elements.h"
#include "kernels/f8.h"
#include "kernels/int8.h"
#include "linear_plan.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kTileColumns = 1024;  // of a row, for a block

// Arguments of kernels have no holes.
struct Packed {
  unsigned char* data;
  DType dtype;
  int n_padding;  // columns after the k-th
  int64_t n, k, panel_bytes, row_bytes;

  explicit Packed(const PackedMatrix& matrix)
      : data(static_cast<unsigned char*>(matrix.data)),
        dtype(matrix.dtype),
        n_padding(static_cast<int>(packed_columns(matrix) - matrix.k)),
        n(matrix.n),
        k(matrix.k),
        panel_bytes(PackedMatrix::panel_bytes(matrix.dtype, matrix.k)),
        row_bytes(weight_row_bytes(matrix.dtype, matrix.k)) {}
};

__device__ __forceinline__ unsigned char* packed_row(const Packed& p, int64_t row) {
  return p.data + row / PackedMatrix::kPanel * p.panel_bytes + row % PackedMatrix::kPanel * p.row_bytes;
}
__device__ __forceinline__ float* scale_of(const Packed& p, int64_t row) {
  unsigned char* panel_end = p.data + (row / PackedMatrix::kPanel + 1) * p.panel_bytes;
  return reinterpret_cast<float*>(panel_end) - PackedMatrix::kPanel + row % PackedMatrix::kPanel;
}
__device__ __forceinline__ bool has_row_scales(DType dtype) {
  return dtype == DType::i8 || dtype == DType::f8_e4m3;
}

// Columns [first_column, first_column + n_columns) of rows that follow each other in `source`. first_index:
// of the piece's first element in what pack_rows() was given.
struct Piece {
  const void* source;
  DType dtype;
  int n_padding;  // columns that follow these and are the row's last
  int64_t first_row, first_column, n_columns, first_index;
};

__device__ __forceinline__ void report(int64_t* first_bad, int64_t index) {
  atomicMin(reinterpret_cast<unsigned long long*>(first_bad), static_cast<unsigned long long>(index));
}

// To f32 and bf16. A block: 1024 columns of a row.
__global__ void pack_values(Packed target, Piece piece, int64_t tiles_of_row, int64_t* first_bad) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x / tiles_of_row, begin = blockIdx.x % tiles_of_row * kTileColumns;
  const int64_t end = piece.n_columns + piece.n_padding;
  unsigned char* to = packed_row(target, piece.first_row + row);
  for (int64_t i = begin + threadIdx.x; i < end && i < begin + kTileColumns; i += blockDim.x) {
    float value = 0.0F;
    if (i < piece.n_columns) {
      value = element_of(piece.source, piece.dtype, row * piece.n_columns + i);
      if (!is_finite_number(value)) report(first_bad, piece.first_index + row * piece.n_columns + i);
    }
    const int64_t column = piece.first_column + i;
    if (target.dtype == DType::f32) {
      reinterpret_cast<float*>(to)[column] = value;
    } else {
      reinterpret_cast<uint16_t*>(to)[column] = static_cast<uint16_t>(bf16_of_float(value));
    }
  }
}

// Integers and codes as they are, with their scales.
__global__ void pack_stored(Packed target, Piece piece, const float* scales, int64_t tiles_of_row,
                            int64_t* first_bad) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x / tiles_of_row, begin = blockIdx.x % tiles_of_row * kTileColumns;
  const auto* from = static_cast<const unsigned char*>(piece.source) + row * piece.n_columns;
  const int64_t end = piece.n_columns + piece.n_padding;
  unsigned char* to = packed_row(target, piece.first_row + row) + piece.first_column;
  for (int64_t i = begin + threadIdx.x; i < end && i < begin + kTileColumns; i += blockDim.x) {
    const unsigned char code = i < piece.n_columns ? from[i] : 0;
    const bool is_bad = target.dtype == DType::f8_e4m3 && (code & 0x7fU) == 0x7fU;
    if (is_bad) report(first_bad, piece.first_index + row * piece.n_columns + i);
    to[i] = code;
  }
  if (begin > 0 || threadIdx.x > 0 || piece.first_column > 0) return;
  const uint32_t bits = __float_as_uint(scales[row]);
  if (bits >= 0x7f800000U && bits != 0x80000000U)
    report(first_bad, piece.first_index + row * piece.n_columns);
  *scale_of(target, piece.first_row + row) = scales[row];
}

__device__ __forceinline__ unsigned char quantised(DType dtype, float value, float divisor) {
  const float scaled = __fdiv_rn(value, divisor);
  if (dtype == DType::f8_e4m3) return static_cast<unsigned char>(f8_of_float(scaled));
  return static_cast<unsigned char>(__float2int_rn(fminf(fmaxf(rintf(scaled), -127.0F), 127.0F)));
}

// Of a row: the largest magnitude that is a number, and the first column that is not finite, or -1.
struct RowFacts {
  float largest;
  int64_t first_bad;
};

__device__ RowFacts range_of_row(const Piece& piece, int64_t first) {
  __shared__ unsigned int largest_bits;
  __shared__ unsigned long long first_bad;
  if (threadIdx.x == 0) largest_bits = 0, first_bad = ~0ULL;
  __syncthreads();
  float largest = 0.0F;
  for (int64_t i = threadIdx.x; i < piece.n_columns; i += blockDim.x) {
    const float value = element_of(piece.source, piece.dtype, first + i);
    if (!is_finite_number(value)) atomicMin(&first_bad, static_cast<unsigned long long>(i));
    largest = fmaxf(largest, fabsf(value));
  }
  largest = warp_max(largest);
  if (threadIdx.x % kWarp == 0) atomicMax(&largest_bits, __float_as_uint(largest));
  __syncthreads();
  return {__uint_as_float(largest_bits), first_bad == ~0ULL ? -1 : static_cast<int64_t>(first_bad)};
}

// To i8 and f8_e4m3. A block: a row, which the piece has wholly, or of which these are known.
__global__ void quantise_rows(Packed target, Piece piece, float known_largest, int64_t known_bad,
                              int64_t* first_bad) {
  wait_for_earlier_kernels();
  const bool is_whole = piece.n_columns == target.k;
  const int64_t first = blockIdx.x * piece.n_columns, row = piece.first_row + blockIdx.x;
  const RowFacts range = is_whole ? range_of_row(piece, first) : RowFacts{known_largest, known_bad};
  const bool is_good = range.first_bad < 0;
  const float scale = __fdiv_rn(range.largest, target.dtype == DType::i8 ? 127.0F : kLargestF8);
  const float divisor = is_good && scale > 0.0F ? scale : 1.0F;
  if (threadIdx.x == 0) {
    *scale_of(target, row) = scale;
    if (!is_good) report(first_bad, piece.first_index + first - piece.first_column + range.first_bad);
  }
  const int64_t end = piece.n_columns + piece.n_padding;
  unsigned char* to = packed_row(target, row) + piece.first_column;
  for (int64_t i = threadIdx.x; i < end; i += blockDim.x) {
    const bool is_there = is_good && i < piece.n_columns;
    to[i] =
        quantised(target.dtype, is_there ? element_of(piece.source, piece.dtype, first + i) : 0.0F, divisor);
  }
}

// Rows past n of the last panel, which follow each other, and their scales.
template <class Word>
__global__ void zero_rows(Packed target) {
  wait_for_earlier_kernels();
  const int64_t n_rows = PackedMatrix::kPanel - target.n % PackedMatrix::kPanel;
  auto* words = reinterpret_cast<Word*>(packed_row(target, target.n));
  const int64_t n_words = n_rows * target.row_bytes / static_cast<int64_t>(sizeof(Word));
  for (int64_t i = first_index(); i < n_words; i += index_step()) words[i] = Word{};
  if (first_index() < n_rows && has_row_scales(target.dtype))
    *scale_of(target, target.n + first_index()) = 0.0F;
}

// A block: 1024 columns of a row that was asked for.
__global__ void unpack_kernel(Packed source, const int32_t* rows, int64_t tiles_of_row, float* target) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t i = blockIdx.x / tiles_of_row, begin = blockIdx.x % tiles_of_row * kTileColumns;
  const unsigned char* from = packed_row(source, rows[i]);
  const float scale = has_row_scales(source.dtype) ? *scale_of(source, rows[i]) : 1.0F;
  for (int64_t c = begin + threadIdx.x; c < source.k && c < begin + kTileColumns; c += blockDim.x) {
    float value = 0.0F;
    if (source.dtype == DType::i8) {
      value = static_cast<float>(static_cast<signed char>(from[c])) * scale;
    } else if (source.dtype == DType::f8_e4m3) {
      value = float_of_bf16(bf16_of_f8(from[c])) * scale;
    } else {
      value = element_of(from, source.dtype, c);
    }
    target[i * source.k + c] = value;
  }
}

// 16 bytes a thread where that is possible: per_load elements, else 1.
__global__ void scan_kernel(const void* data, DType dtype, int64_t n, int64_t per_load, int64_t* first_bad) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const uint32_t exponent = dtype == DType::f16    ? 0x7c007c00U
                            : dtype == DType::bf16 ? 0x7f807f80U
                                                   : 0x7f800000U;
  for (int64_t i = first_index(); i * per_load < n; i += index_step()) {
    const int64_t first = i * per_load;
    bool is_suspect = true;
    if (per_load > 1 && first + per_load <= n) {
      const uint4 v = static_cast<const uint4*>(data)[i];
      is_suspect = false;
      const uint32_t words[4] = {v.x, v.y, v.z, v.w};
      for (int word = 0; word < 4; ++word) {
        const uint32_t missing = ~words[word] & exponent;  // a half of zeros: not finite
        is_suspect = is_suspect || (missing & 0xffff0000U) == 0;
        if (dtype != DType::f32) is_suspect = is_suspect || (missing & 0xffffU) == 0;
      }
    }
    for (int64_t j = first; is_suspect && j < n && j < first + per_load; ++j) {
      if (!is_finite_number(element_of(data, dtype, j))) report(first_bad, j);
    }
  }
}

const KernelList kKernels{kernel_handle(pack_values),        kernel_handle(pack_stored),
                          kernel_handle(quantise_rows),      kernel_handle(zero_rows<uint4>),
                          kernel_handle(zero_rows<uint8_t>), kernel_handle(unpack_kernel),
                          kernel_handle(scan_kernel)};

dim3 blocks(int64_t n) { return dim3(static_cast<unsigned>(n)); }
int64_t tiles_of(int64_t n_columns) {
  return std::max<int64_t>(1, (n_columns + kTileColumns - 1) / kTileColumns);
}

// What pack_rows() was asked for.
struct PackCall {
  Packed target;
  int64_t first_row, n_rows;
  const std::byte* source;
  DType dtype;
  const float* scales;
};

// Rows [row, row + n_rows) of the source, columns [column, column + n_columns): all, or of one row.
void pack_piece(Upload& upload, const PackCall& call, int64_t row, int64_t n_rows, int64_t column,
                int64_t n_columns, const RowFacts& known) {
  const int64_t size = dtype_size(call.dtype), first = row * call.target.k + column;
  const auto bytes = static_cast<size_t>(n_rows * n_columns * size), scales_at = (bytes + 15) / 16 * 16;
  std::byte* host = upload.host();
  if (bytes > 0) std::memcpy(host, call.source + first * size, bytes);
  if (call.scales != nullptr)
    std::memcpy(host + scales_at, call.scales + row, static_cast<size_t>(n_rows) * sizeof(float));
  const size_t scale_bytes = call.scales != nullptr ? static_cast<size_t>(n_rows) * sizeof(float) : 0;
  if (bytes + scale_bytes > 0) upload.send(scales_at + scale_bytes);
  const int padding = column + n_columns == call.target.k ? call.target.n_padding : 0;
  const Piece piece{upload.device(), call.dtype, padding, call.first_row + row, column, n_columns, first};
  const int64_t tiles = tiles_of(n_columns + 4);  // padding is less than four
  if (call.scales != nullptr) {
    const auto* scales = reinterpret_cast<const float*>(upload.device() + scales_at);
    upload.launch({blocks(n_rows * tiles), kBlockThreads}, pack_stored, call.target, piece, scales, tiles,
                  upload.answer());
  } else if (has_scales(call.target.dtype)) {
    upload.launch({blocks(n_rows), kBlockThreads}, quantise_rows, call.target, piece, known.largest,
                  known.first_bad, upload.answer());
  } else {
    upload.launch({blocks(n_rows * tiles), kBlockThreads}, pack_values, call.target, piece, tiles,
                  upload.answer());
  }
}

// Of a row that no upload holds wholly.
RowFacts range_on_host(const PackCall& call, int64_t row) {
  RowFacts range{0.0F, -1};
  for (int64_t i = 0; i < call.target.k; ++i) {
    const float value = element_at(call.source, call.dtype, row * call.target.k + i);
    if (!is_finite(value) && range.first_bad < 0) range.first_bad = i;
    range.largest = std::max(range.largest, std::abs(value));
  }
  return range;
}

}  // namespace

int64_t pack_rows(Device& device, const PackedMatrix& target, int64_t first_row, int64_t n_rows,
                  const void* source, DType source_dtype, const float* source_scales) {
  if (n_rows <= 0) return -1;
  Upload upload(cuda_device(device));
  const PackCall call{Packed(target), first_row,    n_rows, static_cast<const std::byte*>(source),
                      source_dtype,   source_scales};
  const int64_t size = dtype_size(source_dtype);
  const auto room = static_cast<int64_t>(upload.capacity()) - 16;
  const int64_t rows_at_once = room / (target.k * size + static_cast<int64_t>(sizeof(float)));
  const int64_t columns_at_once = rows_at_once > 0 ? target.k : room / size - 1;
  for (int64_t row = 0; row < n_rows; row += std::max<int64_t>(1, rows_at_once)) {
    RowFacts range{0.0F, -1};
    if (rows_at_once == 0 && source_scales == nullptr && has_scales(target.dtype))
      range = range_on_host(call, row);
    const int64_t rows = std::clamp<int64_t>(n_rows - row, 1, std::max<int64_t>(1, rows_at_once));
    int64_t column = 0;
    do {
      const int64_t columns = std::min(columns_at_once, target.k - column);
      pack_piece(upload, call, row, rows, column, columns, range);
      column += columns;
    } while (column < target.k);
  }
  if (first_row + n_rows == target.n && target.n % PackedMatrix::kPanel != 0) {
    const bool is_aligned = is_aligned_16(target.data, call.target.row_bytes);
    const dim3 grid = grid_for(PackedMatrix::kPanel * call.target.row_bytes / (is_aligned ? 16 : 1));
    upload.launch({grid, kBlockThreads}, is_aligned ? zero_rows<uint4> : zero_rows<uint8_t>, call.target);
  }
  const int64_t first_bad = upload.finish();
  return first_bad == std::numeric_limits<int64_t>::max() ? -1 : first_bad;
}

void unpack_rows(Device& device, const PackedMatrix& source, std::span<const int32_t> rows, float* target) {
  if (rows.empty() || source.k == 0) return;
  CudaDevice& gpu = cuda_device(device);
  const int64_t tiles = tiles_of(source.k);
  launch(gpu, {blocks(static_cast<int64_t>(rows.size()) * tiles), kBlockThreads}, unpack_kernel,
         Packed(source), gpu.stage(rows), tiles, target);
}

int64_t find_not_finite(Device& device, const void* data, DType dtype, int64_t n) {
  if (n <= 0) return -1;
  CudaDevice& gpu = cuda_device(device);
  const Scratch scratch(gpu, sizeof(int64_t), "index of what is not finite");
  int64_t first_bad = std::numeric_limits<int64_t>::max();
  gpu.copy_to_device(scratch.as<int64_t>(), &first_bad, sizeof first_bad);
  const int64_t per_load = is_aligned_16(data, 0) ? 16 / dtype_size(dtype) : 1;
  launch(gpu, {grid_for((n + per_load - 1) / per_load), kBlockThreads}, scan_kernel, data, dtype, n, per_load,
         scratch.as<int64_t>());
  gpu.copy_to_host(&first_bad, scratch.as<int64_t>(), sizeof first_bad);
  return first_bad == std::numeric_limits<int64_t>::max() ? -1 : first_bad;
}

}  // namespace nanochat::cuda
