// Manifests: every key, and everything that is refused, by name.
#include "warm/manifest.h"

#include "unit/io/scratch_folder.h"
#include "unit/warm/registry_fixture.h"

namespace nanochat::testing {
namespace {

std::string fleet_of(const std::string& components, const std::string& more = "") {
  return R"({"schema": "nanochat.fleet.v1", "name": "f", )" + more + R"("components": [)" + components + "]}";
}

Manifest parse(const std::string& text) { return parse_manifest(text, "/fleets/fleet.json"); }

ComponentSpec only(const std::string& component) { return parse(fleet_of(component)).components.at(0); }

Error refusal(const std::string& text) {
  return error_of([&] { parse(text); });
}

constexpr const char* kBits = R"({"id": "bits", "kind": "hyperdimensional"})";

// --- what is read ------------------------------------------------------------------------------------------

TEST(Manifest, ReadsEveryKeyOfAnEncoder) {
  const ComponentSpec spec =
      only(R"({"id": "E1_Semantic", "kind": "encoder", "path": "e5", "tokenizer": "tok",
      "dimension": 1024, "bytes": 670000000, "weights": "int8", "checksum": "0123456789abcdef0123456789abcdef",
      "pooling": "cls", "normalize": false, "prefix": "query: ", "max_tokens": 512, "role": "document",
      "test": {"tokens": [1, 2, 2147483647], "reference": "ref/E1", "tolerance": 0.5, "max_ms": 7}})");
  EXPECT_EQ(spec.id, "E1_Semantic");
  EXPECT_EQ(spec.kind, ComponentKind::encoder);
  EXPECT_EQ(spec.path, "e5");
  EXPECT_EQ(spec.tokenizer_path, "tok");
  EXPECT_EQ(spec.dimension, 1024);
  EXPECT_EQ(spec.expected_bytes, 670'000'000U);
  EXPECT_EQ(spec.weights, WeightDtype::i8);
  EXPECT_EQ(spec.checksum, "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(spec.pooling, TextPooling::cls);
  EXPECT_EQ(spec.normalization, Normalization::none);
  EXPECT_EQ(spec.prefix, "query: ");
  EXPECT_EQ(spec.max_tokens, 512);
  EXPECT_EQ(spec.role, TextRole::document);
  EXPECT_EQ(spec.test.tokens, (std::vector<int32_t>{1, 2, 2147483647}));
  EXPECT_EQ(spec.test.reference, "ref/E1");
  EXPECT_EQ(spec.test.tolerance, 0.5);
  EXPECT_EQ(spec.test.max_ms, 7);
}

TEST(Manifest, HasDefaultsForWhatIsNotSaid) {
  const ComponentSpec spec = only(R"({"id": "d", "kind": "decoder", "path": "p"})");
  EXPECT_EQ(spec.dimension, 0);
  EXPECT_FALSE(spec.weights.has_value());
  EXPECT_EQ(spec.pooling, TextPooling::as_configured);
  EXPECT_EQ(spec.normalization, Normalization::as_configured);
  EXPECT_EQ(spec.role, TextRole::none);
  EXPECT_EQ(spec.test.tolerance, 1e-5);
  EXPECT_EQ(spec.test.max_ms, 1000);
  EXPECT_TRUE(spec.test.text.empty() && spec.test.tokens.empty() && spec.test.reference.empty());
}

TEST(Manifest, ReadsComputedEmbedders) {
  const Manifest manifest = parse(fleet_of(R"(
      {"id": "E2", "kind": "temporal_recent", "dimension": 512, "reference_time": "2026-01-01T00:00:00Z",
       "test": {"time": "2026-01-03T12:00:00Z"}},
      {"id": "E3", "kind": "temporal_periodic", "test": {"time": "1767441600"}},
      {"id": "E4", "kind": "temporal_positional", "test": {"position": "17"}},
      {"id": "E9", "kind": "hyperdimensional", "test": {"text": "x"}})"));
  EXPECT_EQ(manifest.components[0].reference_time, 1767225600.0);
  EXPECT_EQ(manifest.components[0].test.text, "2026-01-03T12:00:00Z");
  EXPECT_EQ(manifest.components[1].test.text, "1767441600");
  EXPECT_EQ(manifest.components[2].test.text, "17");
  EXPECT_EQ(manifest.components[3].test.text, "x");
}

TEST(Manifest, MakesAFusionDependOnItsParts) {
  const Manifest manifest = parse(fleet_of(std::string(R"({"id": "F", "kind": "fusion", "path": "f",
      "depends_on": ["bits"], "inputs": [{"component": "bits", "width": 5, "projection": "p"},
      {"component": "time", "width": 6}]}, {"id": "time", "kind": "temporal_periodic"}, )") +
                                           kBits));
  const ComponentSpec& spec = manifest.components[0];
  EXPECT_EQ(spec.depends_on, (std::vector<std::string>{"bits", "time"}));
  ASSERT_EQ(spec.parts.size(), 2U);
  EXPECT_EQ(spec.parts[0].component, "bits");
  EXPECT_EQ(spec.parts[0].width, 5);
  EXPECT_EQ(spec.parts[0].projection, "p");
  EXPECT_EQ(spec.parts[1].width, 6);
  EXPECT_EQ(spec.test.max_ms, 2000);
}

TEST(Manifest, KnowsWhereItLiesAndWhatItsRelativePathsStartFrom) {
  const Manifest manifest =
      parse(fleet_of(kBits, R"("config": {"model_weights_path": "w", "diagnostic_dump_path": "/d"}, )"));
  EXPECT_EQ(manifest.folder, "/fleets");
  EXPECT_EQ(manifest.name, "f");
  EXPECT_EQ(manifest.settings.weights_path, "/fleets/w");
  EXPECT_EQ(manifest.settings.dump_path, "/d");
  EXPECT_EQ(parse(fleet_of(kBits, R"("config": {"diagnostic_dump_path": ""}, )")).settings.dump_path, "");
  EXPECT_EQ(parse_manifest(fleet_of(kBits), "fleet.json").folder, ".");
  EXPECT_EQ(parse_manifest(fleet_of(kBits), "/fleet.json").folder, "/");
  EXPECT_EQ(resolve_path("/base", "a/b"), "/base/a/b");
  EXPECT_EQ(resolve_path("/base", "/a"), "/a");
  EXPECT_EQ(resolve_path("", "a"), "a");
  EXPECT_EQ(resolve_path("/base", ""), "");
}

TEST(Manifest, IsReadFromAFile) {
  const ScratchFolder folder;
  EXPECT_EQ(read_manifest(folder.write("fleet.json", fleet_of(kBits))).components.size(), 1U);
  const Error error = error_of([&] { read_manifest(folder.file("absent.json")); });
  EXPECT_EQ(error.status(), Status::file_not_found);
  EXPECT_NE(error.message().find("absent.json"), std::string::npos);
}

// --- what is refused ---------------------------------------------------------------------------------------

TEST(Manifest, RefusesAnUnknownKeyWhereverItIs) {
  for (const std::string& text :
       {fleet_of(kBits, R"("extra": 1, )"),
        fleet_of(R"({"id": "a", "kind": "hyperdimensional", "extra": 1})"),
        fleet_of(R"({"id": "a", "kind": "hyperdimensional", "test": {"extra": 1}})"),
        fleet_of(R"({"id": "a", "kind": "fusion", "path": "p",
                     "inputs": [{"component": "b", "width": 1, "extra": 1}]})"),
        fleet_of(kBits, R"("config": {"extra": 1}, )")}) {
    const Error error = refusal(text);
    EXPECT_EQ(error.status(), Status::config_invalid) << text;
    EXPECT_NE(error.message().find("unknown key 'extra'"), std::string::npos) << error.message();
    EXPECT_TRUE(error.message().starts_with("/fleets/fleet.json: ")) << error.message();
  }
}

TEST(Manifest, RefusesAKeyThatMeansNothingToTheKind) {
  for (const char* component : {R"({"id": "a", "kind": "hyperdimensional", "path": "p"})",
                                R"({"id": "a", "kind": "fusion", "path": "p", "pooling": "mean"})",
                                R"({"id": "a", "kind": "decoder", "path": "p", "role": "query"})",
                                R"({"id": "a", "kind": "encoder", "path": "p", "inputs": []})",
                                R"({"id": "a", "kind": "temporal_periodic", "reference_time": "0"})",
                                R"({"id": "a", "kind": "temporal_periodic", "test": {"text": "x"}})",
                                R"({"id": "a", "kind": "temporal_positional", "test": {"time": "0"}})",
                                R"({"id": "a", "kind": "encoder", "path": "p", "test": {"position": "0"}})",
                                R"({"id": "a", "kind": "hyperdimensional", "test": {"tokens": [1]}})"}) {
    const Error error = refusal(fleet_of(component));
    EXPECT_EQ(error.status(), Status::config_invalid) << component;
    EXPECT_NE(error.message().find("component 'a'"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("means nothing to a component of kind"), std::string::npos)
        << error.message();
  }
}

TEST(Manifest, RefusesWrongTypesAndValuesWithWhatWasExpected) {
  const std::string encoder = R"("id": "a", "kind": "encoder", "path": "p", )";
  for (const std::string& component :
       {std::string("3"),
        std::string("[]"),
        std::string("null"),
        std::string("{}"),
        std::string(R"({"id": 3, "kind": "hyperdimensional"})"),
        std::string(R"({"id": "", "kind": "hyperdimensional"})"),
        std::string(R"({"id": "a\nb", "kind": "hyperdimensional"})"),
        R"({"id": ")" + std::string(129, 'x') + R"(", "kind": "hyperdimensional"})",
        std::string(R"({"id": "a"})"),
        std::string(R"({"id": "a", "kind": "model"})"),
        std::string(R"({"id": "a", "kind": "encoder"})"),
        std::string(R"({"id": "a", "kind": "encoder", "path": ""})"),
        std::string(R"({"id": "a", "kind": "encoder", "path": 1})"),
        "{" + encoder + R"("dimension": 0})",
        "{" + encoder + R"("dimension": -5})",
        "{" + encoder + R"("dimension": 1.5})",
        "{" + encoder + R"("dimension": "1024"})",
        "{" + encoder + R"("dimension": 18446744073709551615})",
        "{" + encoder + R"("bytes": -1})",
        "{" + encoder + R"("weights": "fp4"})",
        "{" + encoder + R"("weights": 8})",
        "{" + encoder + R"("checksum": "12"})",
        "{" + encoder + R"("checksum": "0123456789ABCDEF0123456789abcdef"})",
        "{" + encoder + R"("pooling": "median"})",
        "{" + encoder + R"("normalize": 1})",
        "{" + encoder + R"("prefix": null})",
        "{" + encoder + R"("max_tokens": 0})",
        "{" + encoder + R"("role": "none"})",
        "{" + encoder + R"("tokenizer": []})",
        "{" + encoder + R"("depends_on": "b"})",
        "{" + encoder + R"("depends_on": [1]})",
        "{" + encoder + R"("depends_on": [""]})",
        "{" + encoder + R"("test": []})",
        "{" + encoder + R"("test": {"tokens": []}})",
        "{" + encoder + R"("test": {"tokens": [-1]}})",
        "{" + encoder + R"("test": {"tokens": [2147483648]}})",
        "{" + encoder + R"("test": {"tokens": [1.0]}})",
        "{" + encoder + R"("test": {"tokens": "1"}})",
        "{" + encoder + R"("test": {"tokens": [1], "text": "both"}})",
        "{" + encoder + R"("test": {"tolerance": -1}})",
        "{" + encoder + R"("test": {"tolerance": "1"}})",
        "{" + encoder + R"("test": {"max_ms": 0}})",
        "{" + encoder + R"("test": {"max_ms": 1e3}})",
        "{" + encoder + R"("test": {"reference": 1}})",
        std::string(R"({"id": "a", "kind": "temporal_recent", "reference_time": "soon"})"),
        std::string(R"({"id": "a", "kind": "temporal_recent", "test": {"time": "2026-13-01T00:00:00Z"}})"),
        std::string(R"({"id": "a", "kind": "temporal_positional", "test": {"position": 17}})"),
        std::string(R"({"id": "a", "kind": "fusion", "path": "p"})"),
        std::string(R"({"id": "a", "kind": "fusion", "path": "p", "inputs": []})"),
        std::string(R"({"id": "a", "kind": "fusion", "path": "p", "inputs": [1]})"),
        std::string(R"({"id": "a", "kind": "fusion", "path": "p", "inputs": [{"width": 1}]})"),
        std::string(R"({"id": "a", "kind": "fusion", "path": "p", "inputs": [{"component": "b"}]})"),
        std::string(
            R"({"id": "a", "kind": "fusion", "path": "p", "inputs": [{"component": "b", "width": 0}]})")}) {
    const Error error = refusal(fleet_of(component));
    EXPECT_EQ(error.status(), Status::config_invalid) << component;
    EXPECT_TRUE(error.message().starts_with("/fleets/fleet.json: component")) << error.message();
    EXPECT_LT(error.message().size(), 600U);
  }
}

TEST(Manifest, RefusesHostilePaths) {
  const std::string long_path(5000, 'x');
  for (const std::string& path : {std::string("a\\u0000b"), std::string("a\\nb"), long_path}) {
    for (const char* key : {"path", "tokenizer"}) {
      std::string component =
          R"({"id": "a", "kind": "encoder", ")" + std::string(key) + R"(": ")" + path + "\"";
      if (std::string_view(key) != "path") component += R"(, "path": "p")";
      const Error error = refusal(fleet_of(component + "}"));
      EXPECT_EQ(error.status(), Status::config_invalid) << key;
      EXPECT_LT(error.message().size(), 600U);
    }
  }
}

TEST(Manifest, RefusesTheSameIdTwice) {
  const Error error = refusal(fleet_of(std::string(kBits) + ", " + kBits));
  EXPECT_EQ(error.status(), Status::model_already_registered);
  EXPECT_EQ(field_of(error, "model_id"), "bits");
}

TEST(Manifest, RefusesADependencyOnWhatIsNoComponent) {
  for (const char* component :
       {R"({"id": "a", "kind": "hyperdimensional", "depends_on": ["absent"]})",
        R"({"id": "a", "kind": "fusion", "path": "p", "inputs": [{"component": "absent", "width": 1}]})"}) {
    const Error error = refusal(fleet_of(component));
    EXPECT_EQ(error.status(), Status::model_not_registered);
    EXPECT_EQ(field_of(error, "model_id"), "absent");
  }
}

TEST(Manifest, RefusesCycles) {
  const auto needing = [](const std::string& id, const std::string& other) {
    return R"({"id": ")" + id + R"(", "kind": "hyperdimensional", "depends_on": [")" + other + "\"]}";
  };
  EXPECT_EQ(refusal(fleet_of(needing("a", "a"))).status(), Status::config_invalid);
  const Error error = refusal(fleet_of(std::string(kBits) + ", " + needing("a", "b") + ", " +
                                       needing("b", "c") + ", " + needing("c", "a")));
  EXPECT_EQ(error.status(), Status::config_invalid);
  EXPECT_EQ(error.message(), "/fleets/fleet.json: component 'a' depends on itself, by way of 'c'");
}

TEST(Manifest, WalksAChainOfTenThousand) {
  std::string components = kBits;
  for (int i = 0; i < 9'999; ++i) {
    components += R"(, {"id": "c)" + std::to_string(i) +
                  R"(", "kind": "hyperdimensional", "depends_on": [")" +
                  (i + 1 < 9'999 ? "c" + std::to_string(i + 1) : "bits") + "\"]}";
  }
  EXPECT_EQ(parse(fleet_of(components)).components.size(), 10'000U);
  components += R"(, {"id": "one more", "kind": "hyperdimensional"})";
  EXPECT_EQ(refusal(fleet_of(components)).status(), Status::config_invalid);
}

TEST(Manifest, RefusesAnythingThatIsNoManifest) {
  for (const char* text :
       {R"({})", R"([])", R"("text")", R"({"schema": "nanochat.fleet.v2", "components": []})",
        R"({"schema": 1, "components": []})", R"({"schema": "nanochat.fleet.v1"})",
        R"({"schema": "nanochat.fleet.v1", "components": {}})",
        R"({"schema": "nanochat.fleet.v1", "components": []})",
        R"({"schema": "nanochat.fleet.v1", "name": 1, "components": []})",
        R"({"schema": "nanochat.fleet.v1", "config": [], "components": []})"}) {
    EXPECT_EQ(refusal(text).status(), Status::config_invalid) << text;
  }
}

TEST(Manifest, RefusesBrokenTexts) {
  const std::string whole = fleet_of(kBits);
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(refusal(whole.substr(0, size)).status(), Status::format_invalid) << size;
  for (const std::string& text :
       {whole + "x", whole + whole, "{\"a\":1,\"a\":2}" + std::string(), std::string(1000, '['),
        std::string("{\"schema\": \"\xff\"}"), std::string("{'schema': 1}"), std::string("{\"schema\": tru}"),
        std::string("// comment\n{}"), std::string("{\"a\": 1,}"), std::string("{\"a\": 1e999}"),
        std::string("{\"a\": 01}"), std::string("{\"a\": NaN}"), std::string("\0{}", 3)}) {
    EXPECT_EQ(refusal(text).status(), Status::format_invalid) << text;
  }
  parse("\xef\xbb\xbf" + whole);  // a byte order mark
}

}  // namespace
}  // namespace nanochat::testing
