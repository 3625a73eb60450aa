// nanochat embed: a vector for each line of a text, or for each picture.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "image_file.h"
#include "interrupt.h"
#include "model_choice.h"
#include "stream.h"
#include "vector_output.h"

namespace nanochat::cli {
namespace {

constexpr size_t kTextsPerCall = 512;
constexpr size_t kPicturesPerCall = 16;

struct Embed {
  ModelChoice model;
  std::string file = "-";
  std::string out = "-";
  std::vector<std::string> images;
  std::string pooling = "default", normalization = "default", role = "none", prefix;
  int64_t max_tokens = 0;
  bool json = false, npy = false, sparse = false, truncate = false;
};

const std::map<std::string, int32_t> kPoolings = {
    {"default", NANOCHAT_POOLING_DEFAULT}, {"mean", NANOCHAT_POOLING_MEAN}, {"cls", NANOCHAT_POOLING_CLS},
    {"last", NANOCHAT_POOLING_LAST},       {"max", NANOCHAT_POOLING_MAX},   {"none", NANOCHAT_POOLING_NONE},
    {"pooler", NANOCHAT_POOLING_POOLER}};
const std::map<std::string, int32_t> kNormalizations = {{"default", NANOCHAT_NORMALIZATION_DEFAULT},
                                                        {"l2", NANOCHAT_NORMALIZATION_L2},
                                                        {"none", NANOCHAT_NORMALIZATION_NONE}};
const std::map<std::string, int32_t> kRoles = {
    {"none", NANOCHAT_ROLE_NONE}, {"query", NANOCHAT_ROLE_QUERY}, {"document", NANOCHAT_ROLE_DOCUMENT}};

VectorForm form_of(const Embed& asked) {
  if (asked.npy) return VectorForm::npy;
  return asked.json ? VectorForm::json : VectorForm::numbers;
}

Model open_encoder(const Runtime& runtime, const Embed& asked) {
  if (asked.pooling != "pooler") return open_model(runtime, asked.model);
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.cancel = interrupt_switch();
  options.weights = weights_of(asked.model);
  options.pooler = 1;
  return make<Model>(Exit::loading, nanochat_model_load, runtime.get(), asked.model.directory.c_str(),
                     &options);
}

nanochat_embed_options embed_options(const Embed& asked) {
  nanochat_embed_options options = NANOCHAT_EMBED_OPTIONS_INIT;
  options.cancel = interrupt_switch();
  options.normalization = kNormalizations.at(asked.normalization);
  options.pooling = kPoolings.at(asked.pooling);
  options.role = kRoles.at(asked.role);
  options.truncate = asked.truncate ? 1 : 0;
  options.max_tokens = asked.max_tokens;
  if (!asked.prefix.empty()) options.prefix = asked.prefix.c_str();
  return options;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> texts;
  LineReader lines(path);
  for (std::string_view line; lines.next(line);) texts.emplace_back(line);
  return texts;
}

// The library counts texts from the first of a call; people count lines.
[[noreturn]] void fail_at_line(const Embed& asked, size_t first, nanochat_status status,
                               nanochat_error* error) {
  const std::string name = asked.file == "-" ? "standard input" : asked.file;
  for (size_t i = 0; i < nanochat_error_field_count(error); ++i) {
    if (std::string_view(nanochat_error_field_name(error, i)) != "input") continue;
    const size_t line = first + std::stoul(nanochat_error_field_value(error, i)) + 1;
    const Failure failure(Exit::running,
                          name + ", line " + std::to_string(line) + ": " + nanochat_error_message(error),
                          nanochat_error_hint(error));
    nanochat_error_free(error);
    throw failure;
  }
  check(Exit::running, status, error);
  throw Failure(Exit::running, status, nullptr);
}

void embed_texts(const Embed& asked, const Runtime& runtime, const Model& model) {
  const Tokenizer tokenizer = open_tokenizer(runtime, asked.model);
  const std::vector<std::string> texts = read_lines(asked.file);
  const nanochat_embed_options options = embed_options(asked);
  const auto embed = asked.sparse ? nanochat_embed_sparse_text : nanochat_embed_text;
  VectorOutput output(asked.out, form_of(asked), {});
  Progress progress("Embedding", Unit::items, asked.model.show());
  for (size_t first = 0; first < texts.size(); first += kTextsPerCall) {
    const size_t end = std::min(first + kTextsPerCall, texts.size());
    std::vector<const char*> pointers;
    std::vector<size_t> sizes;
    for (size_t i = first; i < end; ++i) {
      pointers.push_back(texts[i].data());
      sizes.push_back(texts[i].size());
    }
    nanochat_embeddings* made = nullptr;
    nanochat_error* error = nullptr;
    const nanochat_status status = embed(model.get(), tokenizer.get(), pointers.data(), sizes.data(),
                                         pointers.size(), &options, &made, &error);
    if (status != NANOCHAT_OK) fail_at_line(asked, first, status, error);
    const Embeddings vectors(made);
    output.append(vectors.get());
    progress.update(end, texts.size());
  }
  progress.finish();
  output.commit();
}

void embed_pictures(const Embed& asked, const Model& model) {
  const nanochat_embed_options options = embed_options(asked);
  VectorOutput output(asked.out, form_of(asked), asked.images);
  Progress progress("Embedding", Unit::items, asked.model.show());
  for (size_t first = 0; first < asked.images.size(); first += kPicturesPerCall) {
    const size_t end = std::min(first + kPicturesPerCall, asked.images.size());
    std::vector<Picture> pictures;
    std::vector<nanochat_image> images;
    for (size_t i = first; i < end; ++i) pictures.push_back(read_picture(asked.images[i]));
    for (const Picture& picture : pictures) {
      images.push_back(
          {picture.rgb.data(), picture.rgb.size(), picture.width, picture.height, 0, NANOCHAT_IMAGE_RGB8, 3});
    }
    const auto vectors = make<Embeddings>(Exit::running, nanochat_embed_images, model.get(), images.data(),
                                          images.size(), &options);
    output.append(vectors.get());
    progress.update(end, asked.images.size());
  }
  progress.finish();
  output.commit();
}

void run_embed(const Embed& asked) {
  const Runtime runtime = open_runtime(asked.model);
  const Model model = open_encoder(runtime, asked);
  if (asked.images.empty()) return embed_texts(asked, runtime, model);
  embed_pictures(asked, model);
}

template <class Map>
CLI::IsMember one_of(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return CLI::IsMember(names);
}

}  // namespace

void add_embed_command(CLI::App& app) {
  constexpr int64_t kMaxTokens = 1 << 22;
  CLI::App* command = app.add_subcommand("embed", "Turn each line of a text, or each picture, into a vector");
  auto asked = std::make_shared<Embed>();
  add_model_options(*command, asked->model, Tokenized::yes)->required();
  CLI::Option* json = command->add_flag("--json", asked->json, "A JSON object for each input");
  CLI::Option* npy =
      command->add_flag("--npy", asked->npy, "One NumPy array, float32 [rows, width]")->excludes(json);
  command->add_option("--pooling", asked->pooling, "How the tokens' states become one vector")
      ->check(one_of(kPoolings))
      ->capture_default_str();
  command->add_option("--normalization", asked->normalization, "Whether vectors get length 1")
      ->check(one_of(kNormalizations))
      ->capture_default_str();
  command->add_option("--role", asked->role, "Of late interaction (ColBERT): what the texts are")
      ->check(one_of(kRoles))
      ->capture_default_str();
  command->add_option("--prefix", asked->prefix, "Put before each text, such as 'query: '")
      ->type_name("TEXT");
  command
      ->add_option("--max-tokens", asked->max_tokens,
                   "Tokens of a text; as the model's files say if not given")
      ->check(within(1, kMaxTokens));
  command->add_flag("--truncate", asked->truncate, "Cut longer texts instead of failing");
  command->add_flag("--sparse", asked->sparse, "Weights of the vocabulary's words (SPLADE)")->excludes(npy);
  CLI::Option* file = command->add_option("FILE", asked->file, "Texts, one to a line; - is standard input")
                          ->capture_default_str();
  command->add_option("--images", asked->images, "PNG and JPEG files instead of texts (CLIP)")
      ->type_name("FILE ...")
      ->excludes(file);
  command->add_option("--out", asked->out, "Where the vectors go; - is standard output")
      ->type_name("FILE")
      ->capture_default_str();
  command->footer(
      "Without --json and --npy: a line of numbers for each vector, of sparse ones word:weight.\n"
      "Pooling none gives a vector for each token.");
  command->callback([asked] { run_embed(*asked); });
}

}  // namespace nanochat::cli
