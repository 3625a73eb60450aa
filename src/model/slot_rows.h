// The tensors of a loaded model as rows of fp32 on the host: for whatever writes a model, or makes another of
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "model/model.h"
#include "model/tensor_slots.h"

namespace nanochat {

// The element type that the model holds the tensor in: what it is without loss.
DType held_dtype(const Weights& weights, const TensorSlot& slot);

// values [rows.size(), slot.width()] = those rows of the slot, exactly. Rows of a head that pad the
// vocabulary were not kept: they come as zeros, and last in `rows`. Thread-safe.
void read_rows(const Model& model, const TensorSlot& slot, std::span<const int32_t> rows,
               std::span<float> values);

// The scale of every row of an int8 matrix; 0 for rows that pad the vocabulary.
std::vector<float> read_scales(const Model& model, const TensorSlot& slot);

// Row i of a target is row order(i) of the slot.
using RowOrder = std::function<int64_t(int64_t)>;

// Hands over all rows of a slot, some hundred at a time, in ascending order of the target: the number of the
// first, and their values. Takes working memory for one piece.
void visit_rows(const Model& model, const TensorSlot& slot, const RowOrder& order,
                const std::function<void(int64_t first_row, std::span<const float> values)>& visit);

}  // namespace nanochat
