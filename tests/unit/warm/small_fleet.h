// A fleet of the models of tests/data with references that PyTorch made, written for one test.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "io/safetensors.h"
#include "unit/encoder/encoder_fixture.h"
#include "unit/io/scratch_folder.h"
#include "warm/component.h"
#include "warm/loader.h"
#include "warm/manifest.h"
#include "warm/registry.h"

namespace nanochat::testing {

inline void write_tensors(const std::string& path,
                          const std::vector<std::pair<std::string, std::vector<float>>>& tensors) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, values] : tensors) {
    TensorInfo info;
    info.name = name;
    info.shape = {static_cast<int64_t>(values.size())};
    infos.push_back(info);
  }
  SafetensorsWriter writer(path, infos);
  for (const auto& [name, values] : tensors) writer.write(std::as_bytes(std::span(values)));
  writer.commit();
}

template <class F>
Error error_of(const F& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(Status::ok);
}

inline std::string field_of(const Error& error, std::string_view name) {
  for (const Error::Field& field : error.fields()) {
    if (field.name == name) return field.text;
  }
  return "(no field " + std::string(name) + ")";
}

// Component `id` of a manifest.
inline Json& component_of(Json& manifest, std::string_view id) {
  Json& list = manifest["components"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i]["id"].get<std::string>() == id) return list[i];
  }
  throw std::runtime_error("no component " + std::string(id));
}

// What is loaded from it, planned as a fleet does it.
struct PlannedFleet {
  Manifest manifest;
  WarmConfig config;
  std::shared_ptr<Registry> registry;

  explicit PlannedFleet(const std::string& path) : manifest(read_manifest(path)) {
    manifest.settings.apply(config);
    if (config.weights_path.empty()) config.weights_path = manifest.folder;
    std::vector<ComponentSpec> specs = manifest.components;
    std::vector<ComponentPlan> plans(specs.size());
    for (const bool is_fusion : {false, true}) {
      for (size_t i = 0; i < specs.size(); ++i) {
        if ((specs[i].kind == ComponentKind::fusion) != is_fusion) continue;
        if (is_fusion) resolve_fusion_parts(specs, plans, specs[i]);
        plans[i] = Component::plan(specs[i], config);
      }
    }
    std::vector<RegistryItem> items;
    for (size_t i = 0; i < specs.size(); ++i) items.push_back({specs[i], plans[i]});
    registry = Registry::create(std::move(items));
  }

  const ComponentSpec& spec(std::string_view id) const { return registry->spec(registry->find(id)); }
};

class SmallFleet {
 public:
  SmallFleet() {
    manifest_ = parse_json(R"({"schema": "nanochat.fleet.v1", "name": "small",
        "config": {"vram_headroom_bytes": 0, "quantization": "FP32", "lock_memory": false},
        "components": []})",
                           "manifest");
    add_encoder("dense", "bert_dense", "sentence", 24);
    add_encoder("roberta", "roberta", "sentence", 24);
    add_encoder("sparse", "splade", "sentence", 131);
    add_encoder("code", "t5", "sentence", 12);
    add_encoder("clip", "clip", "sentence", 20);
    add_decoder();
    add(R"({"id": "recent", "kind": "temporal_recent", "dimension": 512,
            "reference_time": "2026-01-04T00:00:00Z", "test": {"time": "2026-01-03T12:00:00Z"}})");
    add(R"({"id": "place", "kind": "temporal_positional", "test": {"position": "17"}})");
    add(R"({"id": "bits", "kind": "hyperdimensional", "dimension": 10000, "test": {"text": "hypervector"}})");
    add_fusion();
    save();
  }

  const std::string& path() const { return folder_.path(); }
  std::string file(const std::string& name) const { return folder_.file(name); }
  std::string manifest_path() const { return folder_.file("fleet.json"); }
  std::string weights(const std::string& id) const { return folder_.file(id) + "/model.safetensors"; }
  Json& manifest() { return manifest_; }
  Json& component(std::string_view id) { return component_of(manifest_, id); }
  void save() const { folder_.write("fleet.json", write_json(manifest_, 2)); }
  PlannedFleet plan() const { return PlannedFleet(manifest_path()); }

  void add(std::string_view text) { manifest_["components"].push_back(parse_json(text, "component")); }

 private:
  void copy_model(const std::string& id, const std::string& name) const {
    std::filesystem::copy(model_path(name), folder_.file(id), std::filesystem::copy_options::recursive);
    std::filesystem::permissions(folder_.file(id), std::filesystem::perms::owner_all);
  }

  void add_encoder(const std::string& id, const std::string& name, const std::string& tensor, int64_t width) {
    copy_model(id, "encoder_" + name);
    const Expected expected(name);
    const TextInput text = expected.texts()[0];
    const std::vector<float> all = expected[tensor];
    write_tensors(folder_.file(id + ".ref"), {{"output", {all.begin(), all.begin() + width}}});
    add(write_json(entry(id, "encoder", width, text.tokens, 1e-4)));
  }

  void add_decoder() {
    copy_model("decoder", "hf_nanochat");
    const SafetensorsFile file(model_path("hf_nanochat") + "/expected.safetensors");
    const std::vector<float> logits = floats_of(file, "logits_float64");
    write_tensors(folder_.file("decoder.ref"), {{"output", {logits.end() - 101, logits.end()}}});
    add(write_json(entry("decoder", "decoder", 101, ids_of(file, "tokens"), 1e-3)));
  }

  static Json entry(const std::string& id, const char* kind, int64_t width, std::span<const int32_t> tokens,
                    double tolerance) {
    Json test;
    test["tokens"] = std::vector<int32_t>(tokens.begin(), tokens.end());
    test["reference"] = id + ".ref";
    test["tolerance"] = tolerance;
    Json json;
    json["id"] = id;
    json["kind"] = kind;
    json["path"] = id;
    json["dimension"] = width;
    json["test"] = std::move(test);
    return json;
  }

  // 83 = 24 + 40 + 19, the last two by fixed signs.
  void add_fusion() {
    copy_model("fusion", "fuse_moe_small");
    const SafetensorsFile file(model_path("fuse_moe_small") + "/expected.safetensors");
    write_tensors(folder_.file("fusion.ref"),
                  {{"output", floats_of(file, "outputs")}, {"input", floats_of(file, "inputs")}});
    add(R"({"id": "fusion", "kind": "fusion", "path": "fusion", "dimension": 37,
            "inputs": [{"component": "dense", "width": 24}, {"component": "sparse", "width": 40},
                       {"component": "bits", "width": 19}],
            "test": {"reference": "fusion.ref", "tolerance": 1e-4}})");
  }

  ScratchFolder folder_;
  Json manifest_;
};

}  // namespace nanochat::testing
