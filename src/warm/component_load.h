// Component::load() in its two steps, for whoever loads several at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/cancel.h"
#include "warm/component.h"

namespace nanochat {

class ComponentLoader {
 public:
  // `config` lives as long as this.
  ComponentLoader(std::shared_ptr<Device> device, const ComponentSpec& spec, const WarmConfig& config);

  // Headers and small files: what is quickly found missing or broken is found before gigabytes are read. On
  // the calling thread alone.
  void prepare();
  const ComponentPlan& plan() const { return out_.plan_; }  // after that

  // Weights, by the threads of the device. Once.
  std::unique_ptr<const Component> load(std::atomic<uint64_t>& bytes_loaded, const Watch& watch);

 private:
  void load_weights(const Watch& watch);
  template <class M>
  void keep(const M& model);
  void set_text_options(const std::string& folder);
  void check_checksum() const;
  void check_test_input() const;

  const WarmConfig& config_;
  std::unique_ptr<Component> made_;
  Component& out_;  // *made_
  double seconds_ = 0.0;
};

}  // namespace nanochat
