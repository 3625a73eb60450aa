// Graphs: nodes with what they wait for, run in an order that nothing but these edges decides.
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "emulated_memory.h"
#include "launches.h"
#include "machine.h"
#include "streams.h"

using namespace nanochat::emulation;

struct CUgraphNode_st {
  enum class Kind { empty, kernel, copy, fill };
  Kind kind = Kind::empty;
  size_t number = 0;  // in the graph
  int device = 0;
  std::vector<size_t> awaited;
  Launch launch;
  void* target = nullptr;
  const void* source = nullptr;
  size_t bytes = 0;
  unsigned value = 0, value_bytes = 1;
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};

namespace {

using Node = CUgraphNode_st;
using Nodes = std::vector<Node>;

struct Graphs {
  std::vector<cudaGraph_t> graphs;
  std::vector<cudaGraphExec_t> executables;
};
Graphs& graphs() {
  static Graphs& known = *new Graphs;
  return known;
}

bool knows(cudaGraph_t graph) { return std::ranges::find(graphs().graphs, graph) != graphs().graphs.end(); }
bool knows(cudaGraphExec_t executable) {
  return std::ranges::find(graphs().executables, executable) != graphs().executables.end();
}
bool has(const CUgraph_st& graph, cudaGraphNode_t node) {
  return std::ranges::any_of(graph.nodes, [&](const auto& own) { return own.get() == node; });
}

struct Dependencies {
  const cudaGraphNode_t* nodes;
  size_t n;
};

cudaError_t add_node(cudaGraphNode_t* handle, cudaGraph_t graph, Dependencies dependencies,
                     const std::function<cudaError_t(Node&)>& fill) {
  if (!knows(graph)) return cudaErrorInvalidValue;
  auto node = std::make_unique<Node>();
  node->number = graph->nodes.size();
  node->device = current_device();
  for (size_t i = 0; i < dependencies.n; ++i) {
    if (!has(*graph, dependencies.nodes[i])) return cudaErrorInvalidValue;
    node->awaited.push_back(dependencies.nodes[i]->number);
  }
  if (const cudaError_t code = fill(*node); code != cudaSuccess) return code;
  *handle = node.get();
  graph->nodes.push_back(std::move(node));
  return cudaSuccess;
}

cudaError_t set_kernel(Node& node, const cudaKernelNodeParams& p) {
  const bool may_begin_early = node.launch.may_begin_early;
  node.kind = Node::Kind::kernel;
  return make_launch({p.func, p.gridDim, p.blockDim, p.sharedMemBytes, p.kernelParams, may_begin_early},
                     node.device, node.launch);
}

cudaError_t set_copy(Node& node, void* target, const void* source, size_t bytes) {
  if (bytes == 0) return cudaErrorInvalidValue;
  node.kind = Node::Kind::copy;
  node.target = target;
  node.source = source;
  node.bytes = bytes;
  return cudaSuccess;
}

cudaError_t run_node(Node& node) {
  switch (node.kind) {
    case Node::Kind::empty:
      break;
    case Node::Kind::kernel:
      return run_launch(node.launch, node.device);
    case Node::Kind::copy:
      std::memmove(node.target, node.source, node.bytes);
      break;
    case Node::Kind::fill:
      for (size_t at = 0; at < node.bytes; at += node.value_bytes) {
        std::memcpy(static_cast<std::byte*>(node.target) + at, &node.value, node.value_bytes);
      }
      break;
  }
  return cudaSuccess;
}

// Of the nodes that may run, the first one in one pass and the last one in the next: edges that are missing
// show.
cudaError_t run_nodes(Nodes& nodes, bool last_first) {
  std::vector<char> is_done(nodes.size(), 0);
  for (size_t n = 0; n < nodes.size(); ++n) {
    size_t next = nodes.size();
    for (const Node& node : nodes) {
      if (is_done[node.number] != 0) continue;
      const bool may_run =
          std::ranges::all_of(node.awaited, [&](size_t awaited) { return is_done[awaited] != 0; });
      if (may_run && (next == nodes.size() || last_first)) next = node.number;
    }
    if (next == nodes.size()) return cudaErrorUnknown;  // nodes that wait for each other: refused before
    if (const cudaError_t code = run_node(nodes[next]); code != cudaSuccess) return code;
    is_done[next] = 1;
  }
  return cudaSuccess;
}

bool has_cycle(const Nodes& nodes) {
  std::vector<char> is_done(nodes.size(), 0);
  for (size_t pass = 0; pass < nodes.size(); ++pass) {
    for (const Node& node : nodes) {
      if (std::ranges::all_of(node.awaited, [&](size_t awaited) { return is_done[awaited] != 0; })) {
        is_done[node.number] = 1;
      }
    }
  }
  return std::ranges::find(is_done, 0) != is_done.end();
}

}  // namespace

struct CUgraphExec_st {
  // Replaced when a node is changed: launches that wait keep what they were given.
  std::shared_ptr<Nodes> nodes;
  std::vector<std::pair<cudaGraphNode_t, size_t>> numbers;
  uint64_t n_launches = 0;

  Node* change(cudaGraphNode_t handle) {
    for (const auto& [node, number] : numbers) {
      if (node != handle) continue;
      if (nodes.use_count() > 1) nodes = std::make_shared<Nodes>(*nodes);
      return &(*nodes)[number];
    }
    return nullptr;
  }
};

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags) {
  return call("cudaGraphCreate", [&] {
    if (flags != 0) return cudaErrorInvalidValue;
    *graph = new CUgraph_st;
    graphs().graphs.push_back(*graph);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call(
      "cudaGraphDestroy",
      [&] {
        if (std::erase(graphs().graphs, graph) == 0) return cudaErrorInvalidValue;
        delete graph;
        return cudaSuccess;
      },
      WhenLost::work);
}

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* handle, cudaGraph_t graph,
                                   const cudaGraphNode_t* dependencies, size_t n_dependencies,
                                   const cudaKernelNodeParams* parameters) {
  return call("cudaGraphAddKernelNode", [&] {
    return add_node(handle, graph, {dependencies, n_dependencies},
                    [&](Node& node) { return set_kernel(node, *parameters); });
  });
}

cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* handle, cudaGraph_t graph,
                                     const cudaGraphNode_t* dependencies, size_t n_dependencies, void* target,
                                     const void* source, size_t bytes, cudaMemcpyKind) {
  return call("cudaGraphAddMemcpyNode1D", [&] {
    return add_node(handle, graph, {dependencies, n_dependencies},
                    [&](Node& node) { return set_copy(node, target, source, bytes); });
  });
}

cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* handle, cudaGraph_t graph,
                                   const cudaGraphNode_t* dependencies, size_t n_dependencies,
                                   const cudaMemsetParams* parameters) {
  return call("cudaGraphAddMemsetNode", [&] {
    return add_node(handle, graph, {dependencies, n_dependencies}, [&](Node& node) {
      const size_t bytes = parameters->width * parameters->elementSize;
      if (parameters->height > 1 || find_device(parameters->dst, bytes) == nullptr)
        return cudaErrorInvalidValue;
      node.kind = Node::Kind::fill;
      node.target = parameters->dst;
      node.bytes = bytes;
      node.value = parameters->value;
      node.value_bytes = parameters->elementSize;
      return cudaSuccess;
    });
  });
}

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* handle, cudaGraph_t graph,
                                  const cudaGraphNode_t* dependencies, size_t n_dependencies) {
  return call("cudaGraphAddEmptyNode", [&] {
    return add_node(handle, graph, {dependencies, n_dependencies}, [](Node&) { return cudaSuccess; });
  });
}

cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to, const cudaGraphEdgeData* edges,
                                     size_t n_dependencies) {
  return call("cudaGraphAddDependencies", [&] {
    if (!knows(graph)) return cudaErrorInvalidValue;
    for (size_t i = 0; i < n_dependencies; ++i) {
      if (!has(*graph, from[i]) || !has(*graph, to[i]) || from[i] == to[i]) return cudaErrorInvalidValue;
      if (std::ranges::find(to[i]->awaited, from[i]->number) != to[i]->awaited.end())
        return cudaErrorInvalidValue;
      if (edges != nullptr && edges[i].type == cudaGraphDependencyTypeProgrammatic) {
        const bool are_kernels = from[i]->kind == Node::Kind::kernel && to[i]->kind == Node::Kind::kernel;
        if (!are_kernels || edges[i].from_port == cudaGraphKernelNodePortDefault)
          return cudaErrorInvalidValue;
        to[i]->launch.may_begin_early = true;
      }
      to[i]->awaited.push_back(from[i]->number);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call("cudaGraphInstantiate", [&] {
    if (!knows(graph)) return cudaErrorInvalidValue;
    auto nodes = std::make_shared<Nodes>();
    for (const auto& node : graph->nodes) nodes->push_back(*node);
    if (has_cycle(*nodes)) return cudaErrorInvalidValue;
    auto* const made = new CUgraphExec_st;
    made->nodes = std::move(nodes);
    for (const auto& node : graph->nodes) made->numbers.emplace_back(node.get(), node->number);
    graphs().executables.push_back(made);
    *executable = made;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call(
      "cudaGraphExecDestroy",
      [&] {
        if (std::erase(graphs().executables, executable) == 0) return cudaErrorInvalidValue;
        delete executable;
        return cudaSuccess;
      },
      WhenLost::work);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  return call("cudaGraphUpload",
              [&] { return knows(executable) && find_stream(stream) ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return call("cudaGraphLaunch", [&] {
    const StreamPointer stream = find_stream(handle);
    if (!knows(executable) || !stream) return cudaErrorInvalidValue;
    ++machine().n_graph_launches;
    const bool last_first = executable->n_launches++ % 2 == 1;
    enqueue(stream, [nodes = executable->nodes, last_first] { return run_nodes(*nodes, last_first); });
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t handle,
                                             const cudaKernelNodeParams* parameters) {
  return call("cudaGraphExecKernelNodeSetParams", [&] {
    Node* const node = knows(executable) ? executable->change(handle) : nullptr;
    if (node == nullptr || node->kind != Node::Kind::kernel) return cudaErrorInvalidValue;
    return set_kernel(*node, *parameters);
  });
}

cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t executable, cudaGraphNode_t handle,
                                               void* target, const void* source, size_t bytes,
                                               cudaMemcpyKind) {
  return call("cudaGraphExecMemcpyNodeSetParams1D", [&] {
    Node* const node = knows(executable) ? executable->change(handle) : nullptr;
    if (node == nullptr || node->kind != Node::Kind::copy) return cudaErrorInvalidValue;
    return set_copy(*node, target, source, bytes);
  });
}
