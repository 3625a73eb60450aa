#include "warm/manifest.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "encoder/time_point.h"
#include "warm/object_reader.h"

namespace nanochat {

namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 26;
constexpr size_t kMostComponents = 10'000;
constexpr size_t kMostIdBytes = 128;
constexpr size_t kMostTestTokens = size_t{1} << 20;
constexpr int64_t kMostDimension = int64_t{1} << 31;
constexpr int64_t kMostMilliseconds = 86'400'000;
constexpr int64_t kFusionTestMs = 2000;
constexpr const char* kSchema = "nanochat.fleet.v1";

constexpr std::array<std::string_view, 7> kKindNames = {
    "decoder",         "encoder", "fusion", "temporal_recent", "temporal_periodic", "temporal_positional",
    "hyperdimensional"};

// Sets of kinds, as bits.
constexpr unsigned bit(ComponentKind kind) { return 1U << static_cast<unsigned>(kind); }
constexpr unsigned kDecoder = bit(ComponentKind::decoder), kEncoder = bit(ComponentKind::encoder),
                   kFusion = bit(ComponentKind::fusion), kRecent = bit(ComponentKind::temporal_recent),
                   kPeriodic = bit(ComponentKind::temporal_periodic),
                   kPositional = bit(ComponentKind::temporal_positional),
                   kHyperdimensional = bit(ComponentKind::hyperdimensional);
constexpr unsigned kTextModel = kDecoder | kEncoder, kWeights = kTextModel | kFusion;

struct KeyRule {
  std::string_view key;
  unsigned kinds;
};
// Keys that not every kind has.
constexpr KeyRule kComponentKeys[] = {
    {"path", kWeights},        {"bytes", kWeights},       {"weights", kWeights},
    {"checksum", kWeights},    {"tokenizer", kTextModel}, {"pooling", kTextModel},
    {"normalize", kTextModel}, {"prefix", kTextModel},    {"max_tokens", kTextModel},
    {"role", kEncoder},        {"inputs", kFusion},       {"reference_time", kRecent}};
constexpr KeyRule kTestKeys[] = {{"text", kTextModel | kHyperdimensional},
                                 {"tokens", kTextModel},
                                 {"time", kRecent | kPeriodic},
                                 {"position", kPositional}};

void refuse_foreign_keys(const ObjectReader& reader, std::span<const KeyRule> rules, ComponentKind kind) {
  for (const KeyRule& rule : rules) {
    if ((rule.kinds & bit(kind)) != 0 || !reader.has(rule.key)) continue;
    reader.refuse_with(rule.key, format_text("'{}' means nothing to a component of kind {}", rule.key,
                                             component_kind_name(kind)));
  }
}

template <class T>
T required(const ObjectReader& reader, std::string_view key, std::string_view expected,
           std::optional<T> value) {
  if (!value) reader.refuse(key, expected);
  return *std::move(value);
}

// One of several words; the number of the one.
template <size_t n>
std::optional<size_t> one_of(ObjectReader& reader, std::string_view key,
                             const std::array<std::string_view, n>& words) {
  const auto text = reader.text(key);
  if (!text) return {};
  const auto found = std::ranges::find(words, *text);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  std::string expected;
  for (const std::string_view word : words) expected.append(expected.empty() ? "" : ", ").append(word);
  reader.refuse(key, "one of " + expected);
}

bool is_id(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return !text.empty() && text.size() <= kMostIdBytes && std::ranges::none_of(text, is_control);
}

// An id of a component, the value of a key or an element of a list.
std::string read_id(ObjectReader& reader, std::string_view key) {
  const std::string expected =
      format_text("a text of 1 to {} bytes without control characters", kMostIdBytes);
  auto id = required(reader, key, expected, reader.text(key));
  if (!is_id(id)) reader.refuse(key, expected);
  return id;
}

// --- one component -----------------------------------------------------------------------------------------

class ComponentParser {
 public:
  ComponentParser(const Json& object, const std::string& file_name, size_t index)
      : reader_(object, file_name, place_of(object, index)) {}

  ComponentSpec parse() {
    spec_.id = read_id(reader_, "id");
    const auto kind = one_of(reader_, "kind", kKindNames);
    if (!kind) reader_.refuse("kind", "decoder, encoder, fusion or one of the computed kinds");
    spec_.kind = static_cast<ComponentKind>(*kind);
    refuse_foreign_keys(reader_, kComponentKeys, spec_.kind);
    if (const auto dimension = reader_.integer("dimension", 1, kMostDimension)) spec_.dimension = *dimension;
    if (has_weights(spec_.kind)) parse_weights();
    if ((bit(spec_.kind) & kTextModel) != 0) parse_text_options();
    if (spec_.kind == ComponentKind::temporal_recent) parse_reference_time();
    if (spec_.kind == ComponentKind::fusion) parse_parts();
    parse_dependencies();
    parse_test();
    reader_.finish();
    return std::move(spec_);
  }

 private:
  static std::string place_of(const Json& object, size_t index) {
    const Json* const id = object.find("id");
    if (id == nullptr || !id->is_string()) return format_text("components[{}]", index);
    return format_text("component '{}'", excerpt(id->get_ref<const std::string&>(), 40));
  }

  void parse_weights() {
    spec_.path = required(reader_, "path", "the path of a directory", reader_.path("path"));
    if (spec_.path.empty()) reader_.refuse("path", "the path of a directory");
    if (const auto bytes = reader_.unsigned_integer("bytes")) spec_.expected_bytes = *bytes;
    if (const auto weights = reader_.text("weights")) {
      try {
        spec_.weights = parse_quantization(*weights, "weights");
      } catch (const Error&) {
        reader_.refuse("weights", "fp32, fp16, fp8 or int8");
      }
    }
    if (auto checksum = reader_.text("checksum")) {
      const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
      if (checksum->size() != 32 || !std::ranges::all_of(*checksum, is_hex))
        reader_.refuse("checksum", "32 digits of 0-9 and a-f");
      spec_.checksum = *std::move(checksum);
    }
  }

  void parse_text_options() {
    spec_.tokenizer_path = reader_.path("tokenizer").value_or("");
    constexpr std::array<std::string_view, 6> kPoolings = {"mean", "cls", "last", "max", "none", "pooler"};
    constexpr TextPooling kPoolingValues[] = {TextPooling::mean, TextPooling::cls,  TextPooling::last,
                                              TextPooling::max,  TextPooling::none, TextPooling::pooler};
    if (const auto pooling = one_of(reader_, "pooling", kPoolings)) spec_.pooling = kPoolingValues[*pooling];
    if (const auto unit = reader_.flag("normalize"))
      spec_.normalization = *unit ? Normalization::unit : Normalization::none;
    spec_.prefix = reader_.text("prefix").value_or("");
    if (const auto most = reader_.integer("max_tokens", 1, kMostDimension)) spec_.max_tokens = *most;
    constexpr std::array<std::string_view, 2> kRoles = {"query", "document"};
    if (spec_.kind != ComponentKind::encoder) return;
    if (const auto role = one_of(reader_, "role", kRoles))
      spec_.role = *role == 0 ? TextRole::query : TextRole::document;
  }

  // A time or a position, checked here and read again where it is used.
  std::optional<std::string> parse_moment(ObjectReader& reader, std::string_view key) {
    auto text = reader.text(key);
    if (!text) return {};
    try {
      parse_time_point(*text);
    } catch (const Error&) {
      reader.refuse(key, key == "position" ? "a number, as a text" : "a time such as 2026-01-03T12:00:00Z");
    }
    return text;
  }

  void parse_reference_time() {
    const auto text = parse_moment(reader_, "reference_time");
    if (!text) return;
    const TimePoint time = parse_time_point(*text);
    spec_.reference_time = static_cast<double>(time.seconds) + time.fraction;
  }

  void parse_parts() {
    constexpr const char* kExpected = "a list of parts, one at least";
    const Json* const inputs = reader_.array("inputs");
    if (inputs == nullptr || inputs->empty() || inputs->size() > kMostComponents)
      reader_.refuse("inputs", kExpected);
    for (size_t i = 0; i < inputs->size(); ++i) {
      ObjectReader part((*inputs)[i], reader_.file_name(), format_text("{}: inputs[{}]", reader_.place(), i));
      FusionPart& to = spec_.parts.emplace_back();
      to.component = read_id(part, "component");
      to.width = required(part, "width", "the number of values of its part of the row",
                          part.integer("width", 1, kMostDimension));
      to.projection = part.path("projection").value_or("");
      part.finish();
    }
  }

  void parse_dependencies() {
    if (const Json* const list = reader_.array("depends_on")) {
      for (const Json& id : *list) {
        if (!id.is_string() || !is_id(id.get_ref<const std::string&>()))
          reader_.refuse("depends_on", "a list of ids");
        depend_on(id.get<std::string>());
      }
    }
    for (const FusionPart& part : spec_.parts) depend_on(part.component);
  }

  void depend_on(std::string id) {
    std::vector<std::string>& ids = spec_.depends_on;
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(std::move(id));
  }

  void parse_test() {
    if (spec_.kind == ComponentKind::fusion) spec_.test.max_ms = kFusionTestMs;
    const Json* const object = reader_.object("test");
    if (object == nullptr) return;
    ObjectReader reader(*object, reader_.file_name(), reader_.place() + ": test");
    refuse_foreign_keys(reader, kTestKeys, spec_.kind);
    TestSpec& test = spec_.test;
    if (auto text = reader.text("text")) test.text = *std::move(text);
    if (auto time = parse_moment(reader, "time")) test.text = *std::move(time);
    if (auto position = parse_moment(reader, "position")) test.text = *std::move(position);
    parse_test_tokens(reader);
    test.reference = reader.path("reference").value_or("");
    if (const auto tolerance = reader.number("tolerance", 0.0, 1e30)) test.tolerance = *tolerance;
    if (const auto most = reader.integer("max_ms", 1, kMostMilliseconds)) test.max_ms = *most;
    reader.finish();
  }

  void parse_test_tokens(ObjectReader& reader) {
    const Json* const list = reader.array("tokens");
    if (list == nullptr) return;
    if (reader.has("text")) reader.refuse_with("tokens", "both text and tokens are given, expected one");
    const std::string expected =
        format_text("1 to {} whole numbers of 0 to {}", kMostTestTokens, std::numeric_limits<int32_t>::max());
    if (list->empty() || list->size() > kMostTestTokens) reader.refuse("tokens", expected);
    for (const Json& token : *list) {
      const bool is_whole = token.is_number_unsigned() &&
                            token.get<uint64_t>() <= uint64_t{std::numeric_limits<int32_t>::max()};
      if (!is_whole) reader.refuse("tokens", expected);
      spec_.test.tokens.push_back(token.get<int32_t>());
    }
  }

  ObjectReader reader_;
  ComponentSpec spec_;
};

// --- all of them together ----------------------------------------------------------------------------------

using Places = std::map<std::string_view, size_t>;

Places index_components(const std::vector<ComponentSpec>& components, const std::string& file_name) {
  Places places;
  for (size_t i = 0; i < components.size(); ++i) {
    if (places.emplace(components[i].id, i).second) continue;
    throw Error(Status::model_already_registered)
        .subject(file_name)
        .field("model_id", components[i].id)
        .say("{}: two components have the id '{}'", file_name, components[i].id);
  }
  return places;
}

void check_dependencies(const std::vector<ComponentSpec>& components, const Places& places,
                        const std::string& file_name) {
  for (const ComponentSpec& spec : components) {
    for (const std::string& id : spec.depends_on) {
      if (places.contains(id)) continue;
      throw Error(Status::model_not_registered)
          .subject(file_name)
          .field("model_id", id)
          .say("{}: component '{}' needs '{}', which is no component", file_name, spec.id, id);
    }
  }
}

// Walks along dependencies, without recursion: a chain may be as long as the list.
void refuse_cycles(const std::vector<ComponentSpec>& components, const Places& places,
                   const std::string& file_name) {
  enum class Mark : uint8_t { fresh, on_the_way, done };
  struct Step {
    size_t component, next;
  };
  std::vector<Mark> marks(components.size(), Mark::fresh);
  for (size_t start = 0; start < components.size(); ++start) {
    if (marks[start] != Mark::fresh) continue;
    std::vector<Step> way{{start, 0}};
    marks[start] = Mark::on_the_way;
    while (!way.empty()) {
      Step& step = way.back();
      const std::vector<std::string>& needs = components[step.component].depends_on;
      if (step.next == needs.size()) {
        marks[step.component] = Mark::done;
        way.pop_back();
        continue;
      }
      const size_t next = places.at(needs[step.next++]);
      if (marks[next] == Mark::on_the_way) {
        throw Error(Status::config_invalid)
            .subject(file_name)
            .field("field", "depends_on")
            .field("reason", "a cycle")
            .say("{}: component '{}' depends on itself, by way of '{}'", file_name, components[next].id,
                 components[way.back().component].id);
      }
      if (marks[next] == Mark::done) continue;
      marks[next] = Mark::on_the_way;
      way.push_back({next, 0});
    }
  }
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A relative path that a manifest says starts from its folder. "" says nothing, or none.
void resolve_setting(const std::string& folder, std::optional<std::string>& path) {
  if (path && !path->empty()) path = resolve_path(folder, *path);
}

}  // namespace

std::string_view component_kind_name(ComponentKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

bool has_weights(ComponentKind kind) { return (bit(kind) & kWeights) != 0; }

std::string resolve_path(const std::string& base, const std::string& path) {
  if (path.empty() || path.front() == '/' || base.empty()) return path;
  return join_path(base, path);
}

Manifest parse_manifest(std::string_view text, const std::string& path) {
  const Json document = parse_json(text, path);
  ObjectReader reader(document, path, "");
  if (reader.text("schema") != kSchema) reader.refuse("schema", kSchema);
  Manifest manifest;
  manifest.path = path;
  manifest.folder = folder_of(path);
  manifest.name = reader.text("name").value_or("");
  if (const Json* const config = reader.object("config")) {
    manifest.settings = parse_warm_settings(*config, path);
    resolve_setting(manifest.folder, manifest.settings.weights_path);
    resolve_setting(manifest.folder, manifest.settings.dump_path);
  }
  const Json* const components = reader.array("components");
  if (components == nullptr || components->empty() || components->size() > kMostComponents)
    reader.refuse("components", format_text("a list of 1 to {} components", kMostComponents));
  for (size_t i = 0; i < components->size(); ++i)
    manifest.components.push_back(ComponentParser((*components)[i], path, i).parse());
  reader.finish();
  const Places places = index_components(manifest.components, path);
  check_dependencies(manifest.components, places, path);
  refuse_cycles(manifest.components, places, path);
  return manifest;
}

Manifest read_manifest(const std::string& path) {
  return parse_manifest(read_file(path, kMostFileBytes), path);
}

}  // namespace nanochat
