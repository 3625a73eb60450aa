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

int64_t keys_of(const SequenceRows& rows) {
  return rows.n_keys > 0 ? rows.n_keys : rows.position + rows.n_rows;
}

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
    plan.cost += keys_of(rows) * rows.n_rows * shape.n_head * shape.head_dim * 2;
  }
  return plan;
}

// Later groups see more keys and are handed out first.
AttentionTask task_of(const SequenceUnits& units, int64_t unit, const AttentionShape& shape,
                      AttentionTask task) {
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
  task.n_keys = keys_of(rows);
  if (shape.bias != nullptr) task.bias += kv_head * task.n_heads * (2 * shape.bias_reach + 1);
  return task;
}

// Scratch of one piece of work: on the stack if it is as small as a decode step's.
class Scratch {
 public:
  Scratch(Device& device, uint64_t n_bytes) {
    if (n_bytes <= sizeof small_) return;
    block_ = device.memory().allocate(PoolKind::working, n_bytes, "attention");
  }
  void* data() { return block_ ? block_.as<void>() : small_; }

 private:
  alignas(64) std::byte small_[kStackScratch];
  Block block_;
};

// Fewer units than threads: each is cut into pages for its scores, then into places of head_dim for the rest.
// That changes no chain of operations, so the bits are those of whole units.
class SplitUnits {
 public:
  static constexpr int64_t kPagesPerPiece = 4;
  static constexpr int64_t kPlacesPerSlice = 16;  // whole vectors of every instruction set

  SplitUnits(Device& device, const Plan& plan, const AttentionShape& shape, const AttentionTask& task)
      : device_(device), bodies_(bodies_of(device)), cost_(plan.cost) {
    const int64_t n_threads = device.threads().n_threads();
    const int64_t most_slices = (shape.head_dim + kPlacesPerSlice - 1) / kPlacesPerSlice;
    n_slices_ = std::min(most_slices, (n_threads + plan.n_units - 1) / plan.n_units);
    slice_width_ = (shape.head_dim / n_slices_ + kPlacesPerSlice - 1) / kPlacesPerSlice * kPlacesPerSlice;
    n_slices_ = (shape.head_dim + slice_width_ - 1) / slice_width_;
    scratch_bytes_ = static_cast<uint64_t>(bodies_.attention_scratch_bytes(task, plan.most_queries));
    int64_t n_floats = 0;
    for (const SequenceUnits& units : plan.sequences) {
      for (int64_t unit = 0; unit < units.n_groups * shape.n_kv_head; ++unit) {
        const AttentionTask one = task_of(units, unit, shape, task);
        const int64_t n_pages = pages_seen(one);
        units_.push_back({one, n_pages, n_pieces_, n_floats});
        n_pieces_ += (n_pages + kPagesPerPiece - 1) / kPagesPerPiece;
        n_floats += n_pages * one.n_rows * one.n_heads * kPagePositions;
      }
    }
    scores_ = device.memory().allocate(PoolKind::working, static_cast<uint64_t>(n_floats) * sizeof(float),
                                       "attention");
  }

  void run() {
    split_work(device_, n_pieces_, 1, cost_, [&](int64_t begin, int64_t end) {
      Scratch scratch(device_, scratch_bytes_);
      for (int64_t piece = begin; piece < end; ++piece) score(piece, scratch.data());
    });
    split_work(device_, std::ssize(units_) * n_slices_, 1, cost_, [&](int64_t begin, int64_t end) {
      Scratch scratch(device_, scratch_bytes_);
      for (int64_t slice = begin; slice < end; ++slice) weigh(slice, scratch.data());
    });
  }

 private:
  struct Unit {
    AttentionTask task;
    int64_t n_pages, first_piece, first_score;
  };

  // As attention() counts them.
  static int64_t pages_seen(const AttentionTask& task) {
    const int64_t first = task.window_left < 0 ? 0 : std::max<int64_t>(0, task.position - task.window_left);
    const int64_t end = task.window_right < 0
                            ? task.n_keys
                            : std::min(task.n_keys, task.position + task.n_rows + task.window_right);
    return std::max<int64_t>(0, page_count(end) - first / kPagePositions);
  }

  float* scores_of(const Unit& unit) const { return scores_.as<float>() + unit.first_score; }

  void score(int64_t piece, void* scratch) const {
    auto unit = units_.begin();
    while (unit + 1 != units_.end() && (unit + 1)->first_piece <= piece) ++unit;
    const int64_t begin = (piece - unit->first_piece) * kPagesPerPiece;
    bodies_.attention_scores(unit->task, begin, std::min(unit->n_pages, begin + kPagesPerPiece),
                             scores_of(*unit), scratch);
  }

  void weigh(int64_t slice, void* scratch) const {
    const Unit& unit = units_[static_cast<size_t>(slice / n_slices_)];
    AttentionTask task = unit.task;
    task.scores = scores_of(unit);
    task.value_first = slice % n_slices_ * slice_width_;
    task.value_width = std::min(slice_width_, task.head_dim - task.value_first);
    bodies_.attention(task, scratch);
  }

  Device& device_;
  const SimdBodies& bodies_;
  int64_t cost_, n_slices_ = 1, slice_width_ = 0, n_pieces_ = 0;
  uint64_t scratch_bytes_ = 0;
  std::vector<Unit> units_;
  Block scores_;
};

// Only where pages come from memory, so that a second visit of the scores costs little beside them, and where
// those that are seen follow each other.
bool is_worth_splitting(Device& device, const Plan& plan, const AttentionShape& shape) {
  constexpr int64_t kMostQueries = 32;
  return shape.global_keys == 0 && plan.n_units < device.threads().n_threads() &&
         plan.most_queries <= kMostQueries && plan.cost >= 4 * kBytesWorthAThread;
}

}  // namespace

void attention(Device& device, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* q, int64_t ldq, float* y, int64_t ldy) {
  const SimdBodies& bodies = bodies_of(device);
  const Plan plan = make_plan(sequences, shape, bodies.attention_max_queries, device.threads().n_threads());
  AttentionTask task{};
  task.q = q;
  task.y = y;
  task.ldq = ldq;
  task.ldy = ldy;
  task.dtype = shape.kv_dtype;
  task.n_heads = shape.n_head / shape.n_kv_head;
  task.head_dim = task.value_width = shape.head_dim;
  task.window_left = shape.window_left;
  task.window_right = shape.window_right;
  task.global_keys = shape.global_keys;
  task.scale = shape.scale;
  task.bias = shape.bias;
  task.bias_reach = shape.bias_reach;
  if (is_worth_splitting(device, plan, shape)) return SplitUnits(device, plan, shape, task).run();
  const auto scratch_bytes = static_cast<uint64_t>(bodies.attention_scratch_bytes(task, plan.most_queries));
  split_work(device, plan.n_units, 1, plan.cost, [&](int64_t begin, int64_t end) {
    Scratch scratch(device, scratch_bytes);
    auto units = plan.sequences.begin();
    for (int64_t unit = begin; unit < end; ++unit) {
      while (unit - units->first_unit >= units->n_groups * shape.n_kv_head) ++units;
      bodies.attention(task_of(*units, unit - units->first_unit, shape, task), scratch.data());
    }
  });
}

}  // namespace nanochat::simd
