// When work of streams and graphs is done, and what the memory of the emulated GPU lets pass.
#include <cstdio>
#include <cstring>

#include "device_array.h"
#include "emulation_control.h"
#include "sanitizers.h"

namespace nanochat::emulation {
namespace {

__global__ void add_to(int* value, int n) { *value += n; }
__global__ void multiply_by(int* value, int n) { *value *= n; }

struct Fixture : testing::Test {
  void SetUp() override { nanochat_emulated_reset(); }
  void TearDown() override {
    nanochat_emulated_reset();
    cudaGetLastError();
  }
  static nanochat_emulated_numbers counts() {
    nanochat_emulated_numbers numbers;
    nanochat_emulated_counts(&numbers);
    return numbers;
  }
  static cudaStream_t make_stream() {
    cudaStream_t stream = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    return stream;
  }
  static int* make_pinned(int value) {
    void* pointer = nullptr;
    EXPECT_EQ(cudaMallocHost(&pointer, sizeof(int)), cudaSuccess);
    return new (pointer) int(value);
  }
  static cudaError_t launch_in(cudaStream_t stream, void (*kernel)(int*, int), int* value, int n) {
    return launch({dim3(1), dim3(1), 0, stream}, kernel, value, n);
  }
};

using EmulatedStreams = Fixture;

TEST_F(EmulatedStreams, DoNothingUntilSomebodyWaits) {
  const DeviceArray<int> value(std::vector<int>{5});
  const cudaStream_t stream = make_stream();
  const uint64_t before = counts().kernels_run;
  ASSERT_EQ(launch_in(stream, add_to, value.get(), 2), cudaSuccess);
  EXPECT_EQ(counts().kernels_run, before);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
  EXPECT_EQ(counts().kernels_run, before + 1);
  EXPECT_EQ(value.read(), (std::vector<int>{7}));
}

TEST_F(EmulatedStreams, ReadPinnedMemoryWhenTheyComeToIt) {
  const DeviceArray<int> value(1);
  const cudaStream_t stream = make_stream();
  int* const pinned = make_pinned(1);
  int pageable = 10;
  ASSERT_EQ(cudaMemcpyAsync(value.get(), pinned, sizeof(int), cudaMemcpyHostToDevice, stream), cudaSuccess);
  *pinned = 2;  // too early: the copy has not read it
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{2}));
  ASSERT_EQ(cudaMemcpyAsync(value.get(), &pageable, sizeof(int), cudaMemcpyHostToDevice, stream),
            cudaSuccess);
  pageable = 20;
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{10}));
  ASSERT_EQ(cudaMemcpyAsync(pinned, value.get(), sizeof(int), cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(*pinned, 2);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(*pinned, 10);
  cudaFreeHost(pinned);
}

TEST_F(EmulatedStreams, WaitForEachOtherByEventsAlone) {
  const DeviceArray<int> value(std::vector<int>{1});
  const cudaStream_t first = make_stream(), second = make_stream();
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);  // never recorded
  launch_in(first, add_to, value.get(), 4);
  ASSERT_EQ(cudaEventRecord(event, first), cudaSuccess);
  launch_in(first, add_to, value.get(), 100);  // after the event: not waited for
  ASSERT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
  launch_in(second, multiply_by, value.get(), 3);
  const uint64_t before = counts().kernels_run;
  ASSERT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_EQ(counts().kernels_run, before + 2);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{15}));
  ASSERT_EQ(cudaStreamSynchronize(first), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{115}));
  cudaEventDestroy(event);
}

TEST_F(EmulatedStreams, OrderTheDefaultStreamAfterThoseThatBlock) {
  const DeviceArray<int> value(std::vector<int>{1});
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  launch_in(blocking, add_to, value.get(), 1);
  launch_in(nullptr, multiply_by, value.get(), 10);
  launch_in(blocking, add_to, value.get(), 3);
  ASSERT_EQ(cudaStreamSynchronize(blocking), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{23}));
}

TEST_F(EmulatedStreams, RefuseHandlesThatAreNoneAndLaunchesThatNoGpuTakes) {
  const DeviceArray<int> value(1);
  const cudaStream_t stream = make_stream();
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(launch({dim3(0), dim3(1)}, add_to, value.get(), 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(1, 65536), dim3(1)}, add_to, value.get(), 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(1), dim3(1025)}, add_to, value.get(), 1), cudaErrorInvalidConfiguration);
  const size_t much = 100 << 10;
  EXPECT_EQ(launch({dim3(1), dim3(1), much}, add_to, value.get(), 1), cudaErrorInvalidValue);
  ASSERT_EQ(
      cudaFuncSetAttribute(cuda::kernel_handle(add_to), cudaFuncAttributeMaxDynamicSharedMemorySize, much),
      cudaSuccess);
  EXPECT_EQ(launch({dim3(1), dim3(1), much}, add_to, value.get(), 1), cudaSuccess);
}

// --- graphs ----------------------------------------------------------------------------------------------

using EmulatedGraphs = Fixture;

struct GraphOfTwo {
  GraphOfTwo(int* value, int n, bool has_edge) {
    EXPECT_EQ(cudaGraphCreate(&graph, 0), cudaSuccess);
    add = add_node(reinterpret_cast<const void*>(cuda::kernel_handle(add_to)), value, n);
    multiply = add_node(reinterpret_cast<const void*>(cuda::kernel_handle(multiply_by)), value, 10);
    if (has_edge) {
      EXPECT_EQ(cudaGraphAddDependencies(graph, &add, &multiply, nullptr, 1), cudaSuccess);
    }
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  }
  ~GraphOfTwo() {
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
  }
  cudaGraphNode_t add_node(const void* kernel, int* value, int n) {
    cudaGraphNode_t node = nullptr;
    void* arguments[] = {&value, &n};
    const cudaKernelNodeParams parameters{const_cast<void*>(kernel), dim3(1), dim3(1), 0, arguments, nullptr};
    EXPECT_EQ(cudaGraphAddKernelNode(&node, graph, nullptr, 0, &parameters), cudaSuccess);
    return node;
  }
  void change(int* value, int n) {
    void* arguments[] = {&value, &n};
    const cudaKernelNodeParams parameters{
        const_cast<void*>(cuda::kernel_handle(add_to)), dim3(1), dim3(1), 0, arguments, nullptr};
    EXPECT_EQ(cudaGraphExecKernelNodeSetParams(executable, add, &parameters), cudaSuccess);
  }
  cudaGraph_t graph = nullptr;
  cudaGraphNode_t add = nullptr, multiply = nullptr;
  cudaGraphExec_t executable = nullptr;
};

TEST_F(EmulatedGraphs, RunTheirNodesInTheOrderOfTheEdges) {
  const DeviceArray<int> value(std::vector<int>{1});
  GraphOfTwo graph(value.get(), 2, true);
  const cudaStream_t stream = make_stream();
  ASSERT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  graph.change(value.get(), 5);  // does not reach what was launched before
  ASSERT_EQ(cudaGraphLaunch(graph.executable, stream), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{350}));
  EXPECT_EQ(counts().graph_launches, 2U);
}

TEST_F(EmulatedGraphs, ShowThatAnEdgeIsMissing) {
  const DeviceArray<int> value(std::vector<int>{1});
  GraphOfTwo graph(value.get(), 2, false);
  std::vector<int> results;
  for (int i = 0; i < 2; ++i) {
    const int one = 1;
    ASSERT_EQ(cudaMemcpy(value.get(), &one, sizeof one, cudaMemcpyHostToDevice), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(graph.executable, nullptr), cudaSuccess);
    results.push_back(value.read()[0]);
  }
  EXPECT_EQ(results, (std::vector<int>{30, 12}));
}

TEST_F(EmulatedGraphs, RefuseEdgesInACircle) {
  const DeviceArray<int> value(1);
  GraphOfTwo graph(value.get(), 2, true);
  ASSERT_EQ(cudaGraphAddDependencies(graph.graph, &graph.multiply, &graph.add, nullptr, 1), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph.graph, 0), cudaErrorInvalidValue);
}

TEST_F(EmulatedGraphs, CopyAndFillBetweenKernels) {
  const DeviceArray<int> value(2);
  int* const pinned = make_pinned(7);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaGraphCreate(&graph, 0), cudaSuccess);
  cudaGraphNode_t fill = nullptr, copy = nullptr;
  const cudaMemsetParams parameters{value.get(), 0, 3, 4, 2, 1};
  ASSERT_EQ(cudaGraphAddMemsetNode(&fill, graph, nullptr, 0, &parameters), cudaSuccess);
  ASSERT_EQ(
      cudaGraphAddMemcpyNode1D(&copy, graph, &fill, 1, value.get(), pinned, sizeof(int), cudaMemcpyDefault),
      cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable, nullptr), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{7, 3}));
  ASSERT_EQ(cudaGraphExecMemcpyNodeSetParams1D(executable, copy, value.get() + 1, pinned, sizeof(int),
                                               cudaMemcpyDefault),
            cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable, nullptr), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{3, 7}));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaFreeHost(pinned);
}

// --- memory, errors --------------------------------------------------------------------------------------

using EmulatedMemory = Fixture;

TEST_F(EmulatedMemory, IsAsMuchAsTheTestSays) {
  nanochat_emulated_memory(1 << 20);
  void *first = nullptr, *second = nullptr;
  ASSERT_EQ(cudaMalloc(&first, 600 << 10), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 600 << 10), cudaErrorMemoryAllocation);
  size_t available = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&available, &total), cudaSuccess);
  EXPECT_EQ(available, 424U << 10);
  EXPECT_EQ(total, 1U << 20);
  ASSERT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaFree(first), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMalloc(&second, 600 << 10), cudaSuccess);
}

TEST_F(EmulatedMemory, OfTheHostIsNoArgumentOfAKernel) {
  int value = 0;
  ASSERT_EQ(launch_in(nullptr, add_to, &value, 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  void* pointer = nullptr;
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaErrorIllegalAddress);
}

struct Both {
  int* value;
  int64_t n;
};
__global__ void add_both(Both both) { *both.value += static_cast<int>(both.n); }

TEST_F(EmulatedMemory, OfTheHostIsNotHiddenInStructuresEither) {
  const DeviceArray<int> value(std::vector<int>{1});
  ASSERT_EQ(launch({dim3(1), dim3(1)}, add_both, Both{value.get(), 5}), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{6}));
  int of_host = 0;
  ASSERT_EQ(launch({dim3(1), dim3(1)}, add_both, Both{&of_host, 5}), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
}

TEST_F(EmulatedMemory, IsKnownByItsPointers) {
  const DeviceArray<int> value(4);
  int* const pinned = make_pinned(1);
  int pageable = 0;
  cudaPointerAttributes attributes;
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, value.get() + 3), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, pinned), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &pageable), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  EXPECT_EQ(cudaMemcpy(&pageable, pinned, 4, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(value.get(), &pageable, 17, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  cudaFreeHost(pinned);
}

TEST_F(EmulatedMemory, AndErrorsComeWhenTheTestAsksForThem) {
  nanochat_emulated_fail("cudaMalloc", 2, cudaErrorMemoryAllocation);
  void* pointer = nullptr;
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&pointer, 4), cudaSuccess);
  nanochat_emulated_fail("kernel", 1, cudaErrorLaunchFailure);
  ASSERT_EQ(launch_in(nullptr, add_to, static_cast<int*>(pointer), 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(launch_in(nullptr, add_to, static_cast<int*>(pointer), 1), cudaErrorLaunchFailure);
  EXPECT_STREQ(cudaGetErrorName(cudaPeekAtLastError()), "cudaErrorLaunchFailure");
  nanochat_emulated_reset();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(EmulatedMemory, BelongsToOneOfSeveralGpus) {
  nanochat_emulated_devices(2);
  const DeviceArray<int> value(std::vector<int>{1});
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(launch_in(nullptr, add_to, value.get(), 1), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(value.read(), (std::vector<int>{1}));
  nanochat_emulated_devices(0);
  int n = -1;
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaErrorNoDevice);
  EXPECT_EQ(n, 0);
  nanochat_emulated_reset();
  cudaSetDevice(0);
}

__global__ void write_at(float* values, int i) { values[i] = 1.0F; }

TEST_F(EmulatedMemory, CannotBeReadByTheHost) {
  const DeviceArray<int> value(1);
  EXPECT_DEATH(std::printf("%d", *value.get()), "");
}

TEST_F(EmulatedMemory, EndsWhereItEnds) {
  const DeviceArray<float> values(1024);
  EXPECT_DEATH(
      {
        launch({dim3(1), dim3(1)}, write_at, values.get(), 1024);
        cudaDeviceSynchronize();
      },
      "write_at.*block \\(0, 0, 0\\), thread \\(0, 0, 0\\)");
#ifdef NANOCHAT_ASAN
  const DeviceArray<float> few(3);
  EXPECT_DEATH(
      {
        launch({dim3(1), dim3(1)}, write_at, few.get(), 3);
        cudaDeviceSynchronize();
      },
      "AddressSanitizer: use-after-poison.*write_at.*block \\(0, 0, 0\\), thread \\(0, 0, 0\\)");
#endif
}

// --- kernels that begin early ----------------------------------------------------------------------------

__global__ void wait_and_add(int* value, int n) {
  cuda::wait_for_earlier_kernels();
  *value += n;
}

cudaError_t launch_early(void (*kernel)(int*, int), int* value, int n) {
  void* arguments[] = {&value, &n};
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  const cudaLaunchConfig_t shape{dim3(1), dim3(1), 0, nullptr, &attribute, 1};
  const cudaError_t code = cudaLaunchKernelExC(&shape, cuda::kernel_handle(kernel), arguments);
  return code != cudaSuccess ? code : cudaDeviceSynchronize();
}

TEST_F(EmulatedStreams, MayBeginKernelsEarlyThatWaitForTheOneBefore) {
  const DeviceArray<int> value(std::vector<int>{1});
  EXPECT_EQ(launch_early(wait_and_add, value.get(), 1), cudaSuccess);
  EXPECT_DEATH(launch_early(add_to, value.get(), 1), "add_to.*ended without wait_for_earlier_kernels");
}

}  // namespace
}  // namespace nanochat::emulation
