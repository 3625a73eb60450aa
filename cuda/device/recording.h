// A pass that is done again and again, as a CUDA graph. The pass's code runs every time, but while a
// recording is open its kernels are only compared with those of the last time; what differs is patched, and
// the whole goes to the GPU in one launch. What cannot be recorded ends the recording: the kernels so far are
// launched one by one, and so are the ones that follow.
#pragma once

#include <cstdint>
#include <vector>

#include "device/cuda_device.h"
#include "device/pinned.h"

namespace nanochat::cuda {

class Recording {
 public:
  explicit Recording(CudaDevice& device);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  void begin();
  bool is_open() const { return state_ == State::comparing || state_ == State::building; }
  void add(const KernelCall& call);
  const void* stage(const void* source, size_t bytes);
  void keep(Block block) { kept_.push_back(std::move(block)); }  // until the graph is in the stream
  void spill();    // launches what there is, and ends the recording for this time
  void finish();   // launches the graph
  void abandon();  // an exception: nothing is launched

  bool is_worthwhile() const { return n_spills_ < kMostSpills; }
  uint64_t last_use = 0;
  bool in_use = false;

 private:
  enum class State { closed, comparing, building, spilled };
  struct Node {
    const void* kernel = nullptr;
    LaunchShape shape;
    std::vector<size_t> argument_bytes;
    std::vector<std::byte> arguments;  // each at a multiple of 16
    cudaGraphNode_t node = nullptr;    // within graph_
  };

  struct Staged {
    uint64_t hash;
    size_t begin, bytes;
  };

  static constexpr size_t kArgumentBytes = size_t{1} << 20;
  static constexpr int kMostSpills = 4;

  static Node make_node(const KernelCall& call);
  static std::vector<void*> pointers_of(Node& node);
  static cudaKernelNodeParams parameters_of(const Node& node, std::vector<void*>& pointers);
  static bool same_call(const Node& node, const KernelCall& call);
  void patch(Node& node);
  void build(bool overlaps);
  void try_build();
  void drop_graph() noexcept;
  void send_arguments();

  CudaDevice& device_;
  State state_ = State::closed;
  std::vector<Node> nodes_;
  size_t cursor_ = 0;  // of the next call
  PinnedBytes pinned_;
  DeviceBytes twin_;
  size_t n_staged_ = 0;  // bytes
  std::vector<Staged> staged_;
  Event sent_;  // after the last copy of pinned_
  std::vector<Block> kept_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  int n_spills_ = 0;
};

}  // namespace nanochat::cuda
