// The memory of one device: a byte budget, a model pool (never evicted), a working pool (freed blocks are
// kept for reuse and given back under pressure) and the tracker. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "memory/raw_memory.h"
#include "memory/tracker.h"

namespace nanochat {

enum class PoolKind : int32_t { model = 0, working = 1 };

class Memory;
struct MemoryChunk;

// An owned buffer; gives itself back. It keeps its Memory alive, so any order of destruction is legal.
class Block {
 public:
  Block() = default;
  ~Block();
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;

  template <class T = std::byte>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  friend class Memory;
  std::shared_ptr<Memory> memory_;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;  // as asked for
  const char* label_ = "";
  MemoryChunk* chunk_ = nullptr;  // what the pool keeps of it
};

struct MemoryOptions {
  uint64_t budget_bytes = 0;  // of both pools together; 0: none
  TrackerOptions tracker;
};

struct MemoryStats {
  uint64_t used_bytes;        // held by live blocks, both pools
  uint64_t high_water_bytes;  // the most that was ever taken from the device at once
  uint64_t budget_bytes;      // 0: none
  uint64_t model_bytes;
  uint64_t working_bytes;
  uint64_t
      reclaimable_bytes;  // freed working blocks kept for reuse; counted against the budget until reclaimed
  uint64_t device_total_bytes, device_available_bytes;
};

// What was taken from or given back to the model pool, or could not be taken from either pool.
struct MemoryEvent {
  int64_t unix_ms;
  const char* label;
  uint64_t bytes;
  bool is_free, success;
  uint64_t used_after;  // both pools
};

class Memory : public std::enable_shared_from_this<Memory> {
 public:
  static constexpr size_t kMostEvents = 100;

  static std::shared_ptr<Memory> create(std::shared_ptr<RawMemory> raw, const MemoryOptions& options);

  // Aligned to 64 bytes at least; blocks of 2 MiB and more to 2 MiB, with huge pages asked for on the host.
  // Contents are undefined; 0 bytes are a block like others. `label` names the purpose in errors and leak
  // reports; it must be a literal. Throws budget_exceeded (model pool) or working_memory_exhausted (working
  // pool), both with needed, used and budget, or out_of_memory when the device itself has no more. Nothing is
  // taken then.
  Block allocate(PoolKind pool, uint64_t bytes, const char* label);

  // What allocate() takes from the budget for a block of this size: the arithmetic of plans.
  static uint64_t allocation_bytes(PoolKind pool, uint64_t bytes);

  // Throws budget_exceeded unless `bytes` more, as counted by allocation_bytes(), would fit. Takes nothing.
  void require_available(uint64_t bytes, const char* label);

  // Of the device, by all who use it. Without locks.
  uint64_t device_total_bytes() const;
  uint64_t device_available_bytes() const;

  void reclaim();  // gives every kept working block back to the device
  MemoryStats stats() const;
  std::vector<MemoryEvent> history() const;  // the last kMostEvents, oldest first
  MemoryTracker& tracker();
  ~Memory();

 private:
  friend class Block;
  struct State;
  Memory(std::shared_ptr<RawMemory> raw, const MemoryOptions& options);
  void release(Block& block) noexcept;
  std::unique_ptr<State> state_;
};

std::shared_ptr<RawMemory> make_host_memory();

}  // namespace nanochat
