// What a launch must know of a kernel: how to call it with arguments that were copied long before.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace nanochat::emulation {

using AnyKernel = void (*)();

enum class ArgumentKind : unsigned char { number, pointer, structure };

struct KernelFacts {
  void (*invoke)(AnyKernel, void* const* arguments);
  const size_t* argument_bytes;
  const ArgumentKind* argument_kinds;
  size_t n_arguments;
};

template <class... Parameters>
struct FactsOf {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "arguments of kernels are copied as bytes");
  static_assert((!std::is_reference_v<Parameters> && ...), "kernels cannot take references");

  template <size_t... kIndices>
  static void call(void (*kernel)(Parameters...), void* const* arguments, std::index_sequence<kIndices...>) {
    static_cast<void>(arguments);
    kernel(*static_cast<Parameters*>(arguments[kIndices])...);
  }
  static void invoke(AnyKernel kernel, void* const* arguments) {
    call(reinterpret_cast<void (*)(Parameters...)>(kernel), arguments,
         std::index_sequence_for<Parameters...>());
  }
  static constexpr size_t kBytes[] = {sizeof(Parameters)..., 0};
  static constexpr ArgumentKind kKinds[] = {(std::is_pointer_v<Parameters> ? ArgumentKind::pointer
                                             : std::is_class_v<Parameters> ? ArgumentKind::structure
                                                                           : ArgumentKind::number)...,
                                            ArgumentKind::number};
  static constexpr KernelFacts kFacts = {&invoke, kBytes, kKinds, sizeof...(Parameters)};
};

// Both thread-safe. find: nullptr if nobody ever asked for the kernel's handle.
const void* register_kernel(AnyKernel, const KernelFacts*);
const KernelFacts* find_kernel(const void* handle);

}  // namespace nanochat::emulation
