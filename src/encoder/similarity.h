// How alike two embeddings are. Sums are in double: element i goes to partial sum i % 8, the eight are added
// in pairs (0+4, 1+5, 2+6, 3+7; then +2; then +1). A product of two floats is exact in double, so the bits
// are the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nanochat {

// All throw invalid_argument where lengths differ, naming both. NaN and infinity go through as arithmetic has
// it.
double dot_product(std::span<const float> a, std::span<const float> b);

// dot / (|a| |b|), within -1..1. A vector of zeros is like nothing: 0, also to itself.
double cosine_similarity(std::span<const float> a, std::span<const float> b);

// Of ColBERT: for each query token its largest dot product with a document token, summed over the query's
// tokens in order. Tokens [n, width], normalised by whoever made them; a token of zeros counts like others
// (its products are 0). No document tokens: invalid_argument; no query tokens: 0. width at least 1.
double max_sim(std::span<const float> query, std::span<const float> document, int64_t width);

// Bit vectors as bytes: how many bits differ, and 1 - that share of all bits. 0 bits: distance 0,
// similarity 1. The n_bits are counted from the first byte's lowest bit on; the bits of the last byte past
// them are not looked at.
int64_t hamming_distance(std::span<const std::byte> a, std::span<const std::byte> b, int64_t n_bits);
double hamming_similarity(std::span<const std::byte> a, std::span<const std::byte> b, int64_t n_bits);

}  // namespace nanochat
