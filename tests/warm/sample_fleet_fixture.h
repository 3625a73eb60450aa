// The sample fleet of thirteen components, written once per program; and what a process has, counted.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "device_under_test.h"
#include "tensor/device.h"
#include "thread_count.h"
#include "unit/io/scratch_folder.h"
#include "warm/fleet.h"
#include "warm/health.h"
#include "warm/sample_fleet.h"

namespace nanochat::testing {

// Read only. Tests that damage a fleet take a copy.
inline const std::string& sample_fleet() {
  static const ScratchFolder folder;
  static const std::string path = [] {
    write_sample_fleet(make_device(), folder.path(), 1, {});
    return folder.path();
  }();
  return path;
}

class FleetCopy {
 public:
  FleetCopy() {
    std::filesystem::copy(sample_fleet(), folder_.path(), std::filesystem::copy_options::recursive);
  }
  const std::string& path() const { return folder_.path(); }
  std::string manifest() const { return path() + "/manifest.json"; }
  std::string weights(std::string_view id) const {
    return path() + "/" + std::string(id) + "/model.safetensors";
  }

  // Rewrites the manifest after `change` has had it.
  template <class F>
  void edit_manifest(const F& change) const {
    Json document = parse_json(read_file(manifest()), manifest());
    change(document);
    std::ofstream(manifest()) << write_json(document, 2);
  }

 private:
  ScratchFolder folder_;
};

inline std::shared_ptr<Fleet> open_fleet(const std::string& manifest,
                                         std::shared_ptr<Device> device = make_device(),
                                         WarmSettings settings = {}) {
  settings.dump_path = "";
  return Fleet::open(std::move(device), manifest, settings);
}

inline std::shared_ptr<Fleet> warm_sample_fleet(std::shared_ptr<Device> device = make_device()) {
  auto fleet = open_fleet(sample_fleet() + "/manifest.json", std::move(device));
  fleet->warm({});
  return fleet;
}

// Of every component that takes texts, and the fusion of all.
inline Embeddings ask(const Fleet& fleet, std::string_view text) {
  const std::string_view texts[] = {text};
  const TimePoint times[] = {{1767441600, 0.0}};
  return fleet.fuse({"", texts, times, {}}, {});
}

struct ProcessFacts {
  size_t n_descriptors = 0, n_threads = 0;
  uint64_t resident_bytes = 0;
};

inline size_t count_entries(const char* folder) {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

inline ProcessFacts process_facts() {
  ProcessFacts facts{count_entries("/proc/self/fd"), n_threads_now(), 0};
  uint64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  facts.resident_bytes = resident * 4096;
  return facts;
}

}  // namespace nanochat::testing
