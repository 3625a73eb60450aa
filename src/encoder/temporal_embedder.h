// The three embedders of time: E2 (how recent), E3 (where in its periods), E4 (where on the line). No
// weights; every vector has length 1 and the same bits on every machine. Definitions: docs/embedders.md.
#pragma once

#include <cstdint>
#include <span>

#include "encoder/time_point.h"

namespace nanochat {

inline constexpr int64_t kTemporalWidth = 512;

enum class TemporalEmbedder : int32_t { recent, periodic, positional };

struct TemporalOptions {
  // What ages are measured to. A time after it has age 0. The default is 2100-01-01T00:00:00Z: far enough
  // that today's times differ; give the present for ages that mean something.
  TimePoint reference{4102444800, 0.0};
};

// target [kTemporalWidth]. Throws out_of_range for an age above 1e12 seconds, a time beyond +-1e12 seconds
// (periodic), a position beyond +-2^53.
void embed_time(TemporalEmbedder embedder, const TimePoint& time, const TemporalOptions& options,
                std::span<float> target);

}  // namespace nanochat
