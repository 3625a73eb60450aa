// The host as a Device. make_cpu_device() is declared in tensor/device.h.
#pragma once

#include <string>

#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat {

struct SimdBodies;

class CpuDevice final : public Device {
 public:
  // `bodies` is nullptr for the reference, and otherwise a constant of the ISA's object file.
  CpuDevice(std::shared_ptr<Memory> memory, std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log,
            std::string isa, const SimdBodies* bodies);

  const std::string& name() const override { return name_; }
  const std::string& isa() const override { return isa_; }
  const Kernels& kernels() const override { return kernels_; }
  void copy_to_device(void* target, const void* source, size_t bytes) override;
  void copy_to_host(void* target, const void* source, size_t bytes) override;
  void copy(void* target, const void* source, size_t bytes) override;
  void synchronize() override {}
  bool is_host() const override { return true; }
  DeviceFacts facts() const override;
  bool is_resident(const void* pointer, size_t n_bytes) const noexcept override;
  bool lock(const void* pointer, size_t n_bytes) noexcept override;
  void unlock(const void* pointer, size_t n_bytes) noexcept override;

  const SimdBodies& bodies() const { return *bodies_; }

 private:
  std::string name_ = "cpu";
  std::string isa_;
  const SimdBodies* bodies_;
  Kernels kernels_;
};

}  // namespace nanochat
