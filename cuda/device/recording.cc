#include "device/recording.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"

namespace nanochat::cuda {

namespace {

constexpr size_t kArgumentStep = 16;
constexpr size_t kStagingStep = 256;

size_t round_up_to(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

bool same_shape(const LaunchShape& a, const LaunchShape& b) {
  const auto same = [](const dim3& one, const dim3& other) {
    return one.x == other.x && one.y == other.y && one.z == other.z;
  };
  return same(a.grid, b.grid) && same(a.block, b.block) && a.shared_bytes == b.shared_bytes;
}

}  // namespace

Recording::Recording(CudaDevice& device) : device_(device), pinned_(kArgumentBytes), twin_(kArgumentBytes) {}

Recording::~Recording() { drop_graph(); }

void Recording::drop_graph() noexcept {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  if (graph_ != nullptr) cudaGraphDestroy(graph_);
  executable_ = nullptr;
  graph_ = nullptr;
}

void Recording::begin() {
  device_.wait(sent_.get());  // the pass before may still be copying its arguments
  cursor_ = 0;
  n_staged_ = 0;
  staged_.clear();
  state_ = executable_ != nullptr ? State::comparing : State::building;
  if (state_ == State::building) nodes_.clear();
}

// What every layer stages alike, a table of pages say, is there once.
const void* Recording::stage(const void* source, size_t bytes) {
  const uint64_t hash = hash64({static_cast<const std::byte*>(source), bytes});
  for (const Staged& there : staged_) {
    if (there.hash != hash || there.bytes != bytes) continue;
    if (std::memcmp(pinned_.data() + there.begin, source, bytes) == 0) return twin_.data() + there.begin;
  }
  if (n_staged_ + bytes > kArgumentBytes) {
    spill();
    return nullptr;
  }
  std::memcpy(pinned_.data() + n_staged_, source, bytes);
  staged_.push_back({hash, n_staged_, bytes});
  n_staged_ = round_up_to(n_staged_ + bytes, kStagingStep);
  return twin_.data() + staged_.back().begin;
}

Recording::Node Recording::make_node(const KernelCall& call) {
  Node node{.kernel = call.kernel, .shape = call.shape, .argument_bytes = {}, .arguments = {}};
  for (size_t i = 0; i < call.n_arguments; ++i) {
    const size_t begin = node.arguments.size(), bytes = call.argument_bytes[i];
    node.arguments.resize(begin + round_up_to(bytes, kArgumentStep));
    std::memcpy(node.arguments.data() + begin, call.arguments[i], bytes);
    node.argument_bytes.push_back(bytes);
  }
  return node;
}

std::vector<void*> Recording::pointers_of(Node& node) {
  std::vector<void*> pointers;
  size_t begin = 0;
  for (const size_t bytes : node.argument_bytes) {
    pointers.push_back(node.arguments.data() + begin);
    begin += round_up_to(bytes, kArgumentStep);
  }
  pointers.push_back(nullptr);
  return pointers;
}

bool Recording::same_call(const Node& node, const KernelCall& call) {
  if (!same_shape(node.shape, call.shape)) return false;
  size_t begin = 0;
  for (size_t i = 0; i < call.n_arguments; ++i) {
    if (std::memcmp(node.arguments.data() + begin, call.arguments[i], call.argument_bytes[i]) != 0)
      return false;
    begin += round_up_to(call.argument_bytes[i], kArgumentStep);
  }
  return true;
}

void Recording::add(const KernelCall& call) {
  if (state_ == State::comparing && (cursor_ == nodes_.size() || nodes_[cursor_].kernel != call.kernel)) {
    drop_graph();  // another course than last time
    nodes_.resize(cursor_);
    state_ = State::building;
  }
  if (state_ == State::building) {
    nodes_.push_back(make_node(call));
  } else if (!same_call(nodes_[cursor_], call)) {
    Node changed = make_node(call);
    changed.node = nodes_[cursor_].node;
    patch(changed);
    nodes_[cursor_] = std::move(changed);
  }
  ++cursor_;
}

// `pointers` are those of the node's arguments, and must outlive what is returned.
cudaKernelNodeParams Recording::parameters_of(const Node& node, std::vector<void*>& pointers) {
  cudaKernelNodeParams parameters{};
  parameters.func = const_cast<void*>(node.kernel);
  parameters.gridDim = node.shape.grid;
  parameters.blockDim = node.shape.block;
  parameters.sharedMemBytes = static_cast<unsigned>(node.shape.shared_bytes);
  parameters.kernelParams = pointers.data();
  return parameters;
}

void Recording::patch(Node& node) {
  std::vector<void*> pointers = pointers_of(node);
  const cudaKernelNodeParams parameters = parameters_of(node, pointers);
  device_.check(cudaGraphExecKernelNodeSetParams(executable_, node.node, &parameters), "change of a graph");
}

// overlaps: a kernel may be started before the one before it has ended, see wait_for_earlier_kernels().
void Recording::build(bool overlaps) {
  device_.check(cudaGraphCreate(&graph_, 0), "cudaGraphCreate");
  for (size_t i = 0; i < nodes_.size(); ++i) {
    Node& node = nodes_[i];
    device_.allow_shared(node.kernel, node.shape.shared_bytes);
    std::vector<void*> pointers = pointers_of(node);
    const cudaKernelNodeParams parameters = parameters_of(node, pointers);
    device_.check(cudaGraphAddKernelNode(&node.node, graph_, nullptr, 0, &parameters),
                  "cudaGraphAddKernelNode");
    if (i == 0) continue;
    cudaGraphEdgeData edge{};
    if (overlaps) {
      edge.from_port = cudaGraphKernelNodePortProgrammatic;
      edge.type = cudaGraphDependencyTypeProgrammatic;
    }
    device_.check(cudaGraphAddDependencies(graph_, &nodes_[i - 1].node, &node.node, &edge, 1),
                  "cudaGraphAddDependencies");
  }
  device_.check(cudaGraphInstantiate(&executable_, graph_, 0), "cudaGraphInstantiate");
}

void Recording::try_build() {
  if (device_.overlaps_kernels()) {
    try {
      return build(true);
    } catch (const Error& error) {
      drop_graph();
      if (error.status() == Status::cuda_context_lost) throw;
      device_.stop_overlapping(error.message());
    }
  }
  build(false);
}

void Recording::send_arguments() {
  if (n_staged_ == 0) return;
  device_.copy_async(twin_.data(), pinned_.data(), n_staged_, cudaMemcpyHostToDevice);
  device_.record(sent_.get());
}

void Recording::spill() {
  if (!is_open()) return;
  send_arguments();
  for (size_t i = 0; i < cursor_; ++i) {
    std::vector<void*> pointers = pointers_of(nodes_[i]);
    device_.launch_in(device_.stream(), {nodes_[i].kernel, nodes_[i].shape, pointers.data(),
                                         nodes_[i].argument_bytes.data(), nodes_[i].argument_bytes.size()});
  }
  kept_.clear();
  ++n_spills_;
  if (state_ == State::building) nodes_.clear();
  state_ = State::spilled;
}

void Recording::finish() {
  if (is_open()) {
    if (state_ == State::comparing && cursor_ < nodes_.size()) {
      drop_graph();
      nodes_.resize(cursor_);
    }
    if (!nodes_.empty()) {
      if (executable_ == nullptr) try_build();
      send_arguments();
      device_.check(cudaGraphLaunch(executable_, device_.stream()), "cudaGraphLaunch");
    }
  }
  kept_.clear();
  state_ = State::closed;
}

void Recording::abandon() {
  kept_.clear();
  if (executable_ == nullptr) nodes_.clear();
  state_ = State::closed;
}

}  // namespace nanochat::cuda
