#include <vector>

#include "kernels/simd_kernels.h"
#include "kernels/split_work.h"

namespace nanochat::simd {

namespace {

constexpr size_t kStackScratch = 16 * 1024;  // enough for a decode step: then it allocates nothing

// The units of one sequence: key-value heads times groups of rows.
struct SequenceUnits {
  const SequenceRows* rows;
  int64_t first_unit, n_groups, rows_per_group;
};

struct Plan {
  std::vector<SequenceUnits> sequences;
  int64_t n_units = 0;
  int64_t cost = 0;          // keys and values visited, in bytes
  int64_t most_queries = 0;  // of a unit
};

// Groups are as large as a body allows, so that a block of keys serves many queries, unless threads would
// idle.
Plan make_plan(std::span<const SequenceRows> sequences, const AttentionShape& shape, int64_t max_queries,
               int64_t n_threads) {
  const int64_t heads_of_group = shape.n_head / shape.n_kv_head;
  const int64_t most_rows = std::max<int64_t>(1, max_queries / heads_of_group);
  Plan plan;
  for (const SequenceRows& rows : sequences) {
    if (rows.n_rows <= 0) continue;
    const int64_t wanted = (4 * n_threads + shape.n_kv_head - 1) / shape.n_kv_head;
    const int64_t group =
        std::clamp<int64_t>(rows.n_rows / wanted, std::min<int64_t>(24, most_rows), most_rows);
    const int64_t n_groups = (rows.n_rows + group - 1) / group;
    plan.sequences.push_back({&rows, plan.n_units, n_groups, group});
    plan.most_queries = std::max(plan.most_queries, std::min(group, rows.n_rows) * heads_of_group);
    plan.n_units += n_groups * shape.n_kv_head;
    plan.cost += (rows.position + rows.n_rows) * rows.n_rows * shape.n_head * shape.head_dim * 2;
  }
  return plan;
}

// Later groups see more keys and are handed out first.
void run_unit(const SimdBodies& bodies, const SequenceUnits& units, int64_t unit, const AttentionShape& shape,
              AttentionTask task, void* scratch) {
  const SequenceRows& rows = *units.rows;
  const int64_t group = units.n_groups - 1 - unit / shape.n_kv_head;
  const int64_t kv_head = unit % shape.n_kv_head;
  const int64_t first = group * units.rows_per_group;
  const KvLayout layout = shape.kv_layout();
  task.q += (rows.first_row + first) * task.ldq + kv_head * task.n_heads * shape.head_dim;
  task.y += (rows.first_row + first) * task.ldy + kv_head * task.n_heads * shape.head_dim;
  task.pages = rows.pages;
  task.k_offset = shape.layer_offset + layout.k_offset(kv_head);
  task.v_offset = shape.layer_offset + layout.v_offset(kv_head);
  task.k_scale_offset = shape.layer_offset + layout.k_scale_offset(kv_head);
  task.v_scale_offset = shape.layer_offset + layout.v_scale_offset(kv_head);
  task.position = rows.position + first;
  task.n_rows = std::min(units.rows_per_group, rows.n_rows - first);
  bodies.attention(task, scratch);
}

}  // namespace

void attention(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy) {
  const SimdBodies& bodies = bodies_of(device);
  const Plan plan = make_plan(sequences, shape, bodies.attention_max_queries, device.threads().n_threads());
  const AttentionTask task{.q = q,
                           .y = y,
                           .ldq = ldq,
                           .ldy = ldy,
                           .pages = nullptr,
                           .dtype = shape.kv_dtype,
                           .k_offset = 0,
                           .v_offset = 0,
                           .k_scale_offset = 0,
                           .v_scale_offset = 0,
                           .position = 0,
                           .n_rows = 0,
                           .n_heads = shape.n_head / shape.n_kv_head,
                           .head_dim = shape.head_dim,
                           .window_left = shape.window_left,
                           .scale = shape.scale};
  const auto scratch_bytes = static_cast<uint64_t>(bodies.attention_scratch_bytes(task, plan.most_queries));
  split_work(device, plan.n_units, 1, plan.cost, [&](int64_t begin, int64_t end) {
    alignas(64) std::byte small[kStackScratch];
    Block block;
    if (scratch_bytes > sizeof small) {
      block = device.memory().allocate(PoolKind::working, scratch_bytes, "attention");
    }
    void* const scratch = block ? block.as<void>() : small;
    auto units = plan.sequences.begin();
    for (int64_t unit = begin; unit < end; ++unit) {
      while (unit - units->first_unit >= units->n_groups * shape.n_kv_head) ++units;
      run_unit(bodies, *units, unit - units->first_unit, shape, task, scratch);
    }
  });
}

}  // namespace nanochat::simd
