#include "warm/record.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"

namespace nanochat {

namespace {

TensorInfo tensor_info(const char* name, Shape shape) {
  TensorInfo info;
  info.name = name;
  info.dtype = DType::f32;
  info.shape = std::move(shape);
  return info;
}

// A component's id is any text, a file's name is not.
std::string reference_name(std::string_view id) {
  std::string name(id);
  std::ranges::replace(name, '/', '_');
  return name + ".safetensors";
}

void read_input(const std::string& path, ReferenceTensors& tensors) {
  const SafetensorsFile file(path);
  const TensorInfo* const input = file.find("input");
  if (input == nullptr) return;
  if (input->dtype != DType::f32) {
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: tensor 'input' has dtype {}, expected F32", path, dtype_name(input->dtype));
  }
  tensors.input_shape = input->shape;
  tensors.input.resize(input->n_bytes / sizeof(float));
  file.file().read_at(input->offset, std::as_writable_bytes(std::span(tensors.input)));
}

// As the manifest may say it: from where its paths start, if it lies below that.
std::string relative_path(const std::string& base, const std::string& path) {
  const std::string prefix = base.ends_with('/') ? base : base + "/";
  return path.starts_with(prefix) ? path.substr(prefix.size()) : path;
}

Json& component_of(Json& manifest, std::string_view id) {
  Json& components = manifest["components"];
  for (size_t i = 0; i < components.size(); ++i) {
    if (components[i].at("id").get_ref<const std::string&>() == id) return components[i];
  }
  throw_internal("a component that is not in its manifest");
}

void record_component(const Component& component, const std::string& reference, Json& entry) {
  const ComponentSpec& spec = component.spec();
  entry["dimension"] = component.plan().dimension;
  if (has_weights(spec.kind)) {
    entry["bytes"] = component.bytes();
    entry["checksum"] = component.checksum().hex();
  }
  entry["test"]["reference"] = reference;
}

}  // namespace

void write_reference(const std::string& path, const ReferenceTensors& tensors) {
  std::vector<TensorInfo> infos = {tensor_info("output", {std::ssize(tensors.output)})};
  if (!tensors.input.empty()) infos.push_back(tensor_info("input", tensors.input_shape));
  SafetensorsWriter out(path, std::move(infos));
  out.write(std::as_bytes(std::span(tensors.output)));
  out.write(std::as_bytes(std::span(tensors.input)));
  out.commit();
}

std::string record_fleet(const Fleet& fleet, const std::string& folder, const Watch& watch) {
  const Manifest& manifest = fleet.manifest();
  const std::string& base = fleet.config().weights_path;
  const std::string target = folder.empty() ? join_path(manifest.folder, "reference") : folder;
  Json document = parse_json(read_file(manifest.path), manifest.path);
  make_directories(target);
  for (const ComponentSpec& listed : manifest.components) {
    watch.check();
    const auto component = fleet.component(listed.id);
    const TestSpec& test = component->spec().test;
    ReferenceTensors tensors;
    tensors.output = component->run_test(watch);
    const bool has_own_input = test.text.empty() && test.tokens.empty() && !test.reference.empty();
    if (has_own_input) read_input(resolve_path(base, test.reference), tensors);
    const std::string file = join_path(target, reference_name(listed.id));
    write_reference(file, tensors);
    record_component(*component, relative_path(base, file), component_of(document, listed.id));
  }
  return write_json(document, 2) + "\n";
}

}  // namespace nanochat
