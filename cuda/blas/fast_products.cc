// cuBLASLt, opened when a device first asks for it: the module runs without it.
#include "device/fast_products.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include <dlfcn.h>

#include "device/cuda_device.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

namespace nanochat::cuda {

namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA advises for Hopper
constexpr size_t kMostPlans = 4096;                   // prompts have many lengths

struct Functions {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmulDescCreate) create_operation;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose;
  decltype(&cublasLtMatmul) multiply;
};

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

// The library stays open for the rest of the process, as it wishes.
std::optional<Functions> load_functions() {
  const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  void* const library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  Functions f{};
  const bool is_whole = library != nullptr && find(library, "cublasLtCreate", f.create) &&
                        find(library, "cublasLtDestroy", f.destroy) &&
                        find(library, "cublasLtMatmulDescCreate", f.create_operation) &&
                        find(library, "cublasLtMatmulDescDestroy", f.destroy_operation) &&
                        find(library, "cublasLtMatmulDescSetAttribute", f.set_operation) &&
                        find(library, "cublasLtMatrixLayoutCreate", f.create_layout) &&
                        find(library, "cublasLtMatrixLayoutDestroy", f.destroy_layout) &&
                        find(library, "cublasLtMatmulPreferenceCreate", f.create_preference) &&
                        find(library, "cublasLtMatmulPreferenceDestroy", f.destroy_preference) &&
                        find(library, "cublasLtMatmulPreferenceSetAttribute", f.set_preference) &&
                        find(library, "cublasLtMatmulAlgoGetHeuristic", f.choose) &&
                        find(library, "cublasLtMatmul", f.multiply);
  if (!is_whole) return std::nullopt;
  return f;
}

// An object of the library.
template <class Object>
class Owned {
 public:
  explicit Owned(cublasStatus_t (*destroy)(Object)) : destroy_(destroy) {}
  ~Owned() {
    if (object_ != nullptr) destroy_(object_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Object* place() { return &object_; }
  Object get() const { return object_; }

 private:
  Object object_ = nullptr;
  cublasStatus_t (*destroy_)(Object);
};

// What the library is told of a product, in its words: column by column, y^T = w^T' x^T.
struct Plan {
  explicit Plan(const Functions& f)
      : operation(f.destroy_operation), w(f.destroy_layout), x(f.destroy_layout), y(f.destroy_layout) {}
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> w, x, y;
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace_bytes = 0;
  bool is_possible = false;
};

class CublasLt final : public FastProducts {
 public:
  CublasLt(CudaDevice& device, const Functions& functions)
      : device_(device), f_(functions), handle_(functions.destroy) {}

  bool open() { return f_.create(handle_.place()) == CUBLAS_STATUS_SUCCESS; }

  bool multiply(const FastProduct& p) override {
    const UseContext use(*device_.context());
    const Plan& plan = plan_of(p);
    if (!plan.is_possible) return false;
    const Scratch workspace(device_, std::max<size_t>(plan.workspace_bytes, 256), "workspace of cuBLASLt");
    const float alpha = 1.0F, beta = p.adds ? 1.0F : 0.0F;
    return f_.multiply(handle_.get(), plan.operation.get(), &alpha, p.w, plan.w.get(), p.x, plan.x.get(),
                       &beta, p.y, plan.y.get(), p.y, plan.y.get(), &plan.algorithm, workspace.as<void>(),
                       plan.workspace_bytes, device_.stream()) == CUBLAS_STATUS_SUCCESS;
  }

 private:
  using Key = std::tuple<DType, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, uint32_t,
                         uint32_t, uint32_t>;

  static uint32_t alignment_of(const void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    return address == 0 ? 256U : static_cast<uint32_t>(std::min<uintptr_t>(256, address & (~address + 1)));
  }

  // Plans stay where they are until there are too many.
  const Plan& plan_of(const FastProduct& p) {
    const Key key{
        p.dtype,          p.m, p.n, p.k, p.ldw, p.ldx, p.ldy, p.adds, alignment_of(p.w), alignment_of(p.x),
        alignment_of(p.y)};
    const std::lock_guard lock(mutex_);
    const auto found = plans_.find(key);
    if (found != plans_.end()) return *found->second;
    if (plans_.size() >= kMostPlans) return none_;
    auto plan = std::make_unique<Plan>(f_);
    plan->is_possible = choose(p, *plan);
    return *plans_.emplace(key, std::move(plan)).first->second;
  }

  bool choose(const FastProduct& p, Plan& plan) {
    const cudaDataType_t type = p.dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    Owned<cublasLtMatmulPreference_t> preference(f_.destroy_preference);
    const auto rows = static_cast<uint64_t>(p.m), outputs = static_cast<uint64_t>(p.n);
    const auto inputs = static_cast<uint64_t>(p.k);
    const uint32_t w_alignment = alignment_of(p.w), x_alignment = alignment_of(p.x);
    const uint32_t y_alignment = alignment_of(p.y);
    bool ok =
        f_.create_operation(plan.operation.place(), CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
    ok = ok && f_.set_operation(plan.operation.get(), CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                sizeof transposed) == CUBLAS_STATUS_SUCCESS;
    ok = ok && f_.create_layout(plan.w.place(), type, inputs, outputs, p.ldw) == CUBLAS_STATUS_SUCCESS;
    ok = ok && f_.create_layout(plan.x.place(), type, inputs, rows, p.ldx) == CUBLAS_STATUS_SUCCESS;
    ok = ok && f_.create_layout(plan.y.place(), CUDA_R_32F, outputs, rows, p.ldy) == CUBLAS_STATUS_SUCCESS;
    ok = ok && f_.create_preference(preference.place()) == CUBLAS_STATUS_SUCCESS;
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
      ok = ok && f_.set_preference(preference.get(), name, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, w_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, y_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, y_alignment);
    cublasLtMatmulHeuristicResult_t best{};
    int n_found = 0;
    ok = ok && f_.choose(handle_.get(), plan.operation.get(), plan.w.get(), plan.x.get(), plan.y.get(),
                         plan.y.get(), preference.get(), 1, &best, &n_found) == CUBLAS_STATUS_SUCCESS;
    if (!ok || n_found < 1 || best.state != CUBLAS_STATUS_SUCCESS) return false;
    plan.algorithm = best.algo;
    plan.workspace_bytes = best.workspaceSize;
    return true;
  }

  CudaDevice& device_;
  const Functions f_;
  Owned<cublasLtHandle_t> handle_;
  const Plan none_{f_};
  std::mutex mutex_;  // guards plans_
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace

std::unique_ptr<FastProducts> make_fast_products(CudaDevice& device) {
  const UseContext use(*device.context());
  const std::optional<Functions> functions = load_functions();
  if (!functions) return nullptr;
  auto products = std::make_unique<CublasLt>(device, *functions);
  if (!products->open()) return nullptr;
  return products;
}

}  // namespace nanochat::cuda

#else

namespace nanochat::cuda {

std::unique_ptr<FastProducts> make_fast_products(CudaDevice&) { return nullptr; }

}  // namespace nanochat::cuda

#endif
