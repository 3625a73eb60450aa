// Registries of components that need no files: computed embedders.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/cpu_device.h"
#include "warm/registry.h"

namespace nanochat {

inline std::shared_ptr<Device> registry_device() {
  static const std::shared_ptr<Device> device = make_cpu_device(
      Memory::create(make_host_memory(), {}),
      std::make_shared<ThreadPool>(ThreadPool::Options{.n_threads = 1}), std::make_shared<Log>(), "");
  return device;
}

inline std::unique_ptr<const Component> computed_component(const std::string& id) {
  ComponentSpec spec;
  spec.id = id;
  spec.kind = ComponentKind::hyperdimensional;
  std::atomic<uint64_t> bytes_loaded{0};
  return Component::load(registry_device(), spec, WarmConfig(), bytes_loaded, Watch());
}

inline RegistryItem item_of(const std::string& id, uint64_t bytes = 0,
                            std::vector<std::string> depends_on = {}) {
  RegistryItem item;
  item.spec.id = id;
  item.spec.kind = ComponentKind::hyperdimensional;
  item.spec.depends_on = std::move(depends_on);
  item.plan.model_bytes = item.plan.file_bytes = bytes;
  return item;
}

// Walks component `index` of a registry to a state.
inline void bring_to(Registry& registry, size_t index, WarmState state) {
  if (state == WarmState::pending) return;
  registry.start_loading(index);
  if (state == WarmState::loading) return;
  if (state == WarmState::failed) return registry.mark_failed(index, Error(Status::model_load_failed));
  registry.mark_validating(index);
  if (state == WarmState::validating) return;
  registry.mark_warm(index, computed_component(registry.spec(index).id));
}

template <class F>
Error error_of(const F& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(Status::ok);
}

inline std::string field_of(const Error& error, std::string_view name) {
  for (const Error::Field& field : error.fields()) {
    if (field.name == name) return field.text;
  }
  return "no field " + std::string(name);
}

}  // namespace nanochat
