// Any bytes as an option struct of any length: refused with a message, or used, and never read past its end.
// Pointers are the caller's promise, so they are cleared; every number stays as it came.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "capi/arguments.h"
#include "fuzz_property.h"
#include "nanochat.h"

namespace {

using nanochat::require_property;

struct Free {
  void operator()(void* pointer) const { std::free(pointer); }
};

// A heap block of exactly the struct's size, so that a read past the end is seen. struct_size is the truth.
template <class T>
class Struct {
 public:
  Struct(const uint8_t* data, size_t size) : size_(size < sizeof(size_t) ? sizeof(size_t) : size) {
    bytes_.reset(static_cast<char*>(std::calloc(1, size_)));
    if (size > 0) std::memcpy(bytes_.get(), data, size);
    std::memcpy(bytes_.get(), &size_, sizeof size_);
  }
  const T* get() const { return reinterpret_cast<const T*>(bytes_.get()); }
  template <class Field>
  void set(size_t offset, Field value) {
    if (offset + sizeof value <= size_) std::memcpy(bytes_.get() + offset, &value, sizeof value);
  }
  void clear(std::initializer_list<size_t> pointers) {
    for (const size_t offset : pointers) set<uint64_t>(offset, 0);
  }

 private:
  size_t size_;
  std::unique_ptr<char, Free> bytes_;
};

void check(nanochat_status status, nanochat_error* error) {
  require_property((status == NANOCHAT_OK) == (error == nullptr));
  if (error != nullptr) {
    require_property(nanochat_error_status(error) == status && *nanochat_error_message(error) != '\0');
    require_property(std::strcmp(nanochat_status_name(status), "UNKNOWN") != 0);
    require_property(status != NANOCHAT_STATUS_INTERNAL);
  }
  nanochat_error_free(error);
}

#define AT(type, field) offsetof(type, field)

struct World {
  nanochat_runtime* runtime = nullptr;
  nanochat_model* model = nullptr;
  nanochat_tokenizer* tokenizer = nullptr;  // of bytes
  World() {
    nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
    options.n_threads = 1;
    nanochat_runtime_create(&options, &runtime, nullptr);
    nanochat_model_create_random(runtime,
                                 "{\"generation\":\"V1\",\"sequence_len\":16,\"vocab_size\":64,\"n_layer\":1,"
                                 "\"n_head\":2,\"n_kv_head\":1,\"n_embd\":32,\"window_pattern\":\"L\"}",
                                 1, nullptr, &model, nullptr);
    require_property(model != nullptr);
    const auto none = [](const char**, size_t*, void*) -> int32_t { return 0; };
    nanochat_tokenizer_train(runtime, nullptr, none, nullptr, &tokenizer, nullptr);
    require_property(tokenizer != nullptr);
  }
};

void create_runtime(const uint8_t* data, size_t size) {
  using T = nanochat_runtime_options;
  Struct<T> options(data, size);
  options.clear(
      {AT(T, device), AT(T, cpu_affinity), AT(T, allocate), AT(T, free), AT(T, log), AT(T, pressure)});
  uint8_t few = size > AT(T, n_threads) ? data[AT(T, n_threads)] : 0;
  if (few > 4) options.set<int32_t>(AT(T, n_threads), few % 4);  // threads are slow to start, not interesting
  nanochat_runtime* runtime = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status = nanochat_runtime_create(options.get(), &runtime, &error);
  require_property((runtime != nullptr) == (status == NANOCHAT_OK));
  check(status, error);
  nanochat_runtime_free(runtime);
}

void create_model(const World& world, const uint8_t* data, size_t size) {
  using T = nanochat_model_options;
  Struct<T> options(data, size);
  options.clear({AT(T, progress), AT(T, cancel)});
  nanochat_model* model = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_model_create_random(world.runtime, "{}", 0, options.get(), &model, &error);
  check(status, error);
  require_property(model == nullptr);
}

void train_tokenizer(const World& world, const uint8_t* data, size_t size) {
  using T = nanochat_tokenizer_train_options;
  Struct<T> options(data, size);
  options.clear(
      {AT(T, special_tokens), AT(T, progress), AT(T, cancel), AT(T, spill_directory), AT(T, text_field)});
  nanochat_tokenizer* tokenizer = nullptr;
  nanochat_error* error = nullptr;
  const auto none = [](const char**, size_t*, void*) -> int32_t { return 0; };
  const nanochat_status status =
      nanochat_tokenizer_train(world.runtime, options.get(), none, nullptr, &tokenizer, &error);
  check(status, error);
  nanochat_tokenizer_free(tokenizer);
}

void encode(const World& world, const uint8_t* data, size_t size) {
  using T = nanochat_encode_options;
  Struct<T> options(data, size);
  options.clear({AT(T, allowed_specials), AT(T, progress), AT(T, cancel)});
  const char* const texts[] = {"a few words", ""};
  nanochat_encoding* encoding = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_tokenizer_encode_batch(world.tokenizer, texts, nullptr, 2, options.get(), &encoding, &error);
  require_property((encoding != nullptr) == (status == NANOCHAT_OK));
  check(status, error);
  nanochat_encoding_free(encoding);
}

void embed(const World& world, const uint8_t* data, size_t size) {
  using T = nanochat_embed_options;
  Struct<T> options(data, size);
  options.clear({AT(T, progress), AT(T, cancel), AT(T, prefix), AT(T, skipped_tokens)});
  const int32_t tokens[] = {1, 2, 3};
  const int32_t* const inputs[] = {tokens};
  const size_t sizes[] = {3};
  nanochat_embeddings* embeddings = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_embed(world.model, inputs, sizes, 1, options.get(), &embeddings, &error);
  require_property((embeddings != nullptr) == (status == NANOCHAT_OK));
  check(status, error);
  nanochat_embeddings_free(embeddings);
}

void generate(const World& world, const uint8_t* data, size_t size) {
  using S = nanochat_session_options;
  using T = nanochat_generation_options;
  const size_t head = size < 24 ? size : 24;
  const Struct<S> session_options(data, head);
  nanochat_session* session = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status created =
      nanochat_session_create(world.model, session_options.get(), &session, &error);
  check(created, error);
  if (session == nullptr) nanochat_session_create(world.model, nullptr, &session, nullptr);

  Struct<T> options(data + head, size - head);
  options.clear({AT(T, stop_tokens), AT(T, stop_strings), AT(T, logit_bias_tokens), AT(T, logit_bias_values),
                 AT(T, cancel)});
  nanochat_generation* generation = nullptr;
  const int32_t prompt[] = {1, 2, 3};
  error = nullptr;
  const nanochat_status status =
      nanochat_generation_start(session, nullptr, prompt, 3, options.get(), &generation, &error);
  check(status, error);
  nanochat_session_free(session);
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  for (int i = 0; i < 20 && generation != nullptr; ++i) {
    error = nullptr;
    const nanochat_status next = nanochat_generation_next(generation, &event, &error);
    check(next, error);
    if (next != NANOCHAT_OK || event.finish != NANOCHAT_FINISH_NONE) break;
    require_property(event.token >= 0 && event.token < 64);
  }
  nanochat_generation_free(generation);
}

void plan_fleet(const World& world, const uint8_t* data, size_t size) {
  using T = nanochat_warm_options;
  Struct<T> options(data, size);
  options.clear({AT(T, model_weights_path), AT(T, diagnostic_dump_path), AT(T, progress), AT(T, cancel),
                 AT(T, on_dump)});
  nanochat_text* json = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status =
      nanochat_warm_plan(world.runtime, "/dev/null/manifest.json", options.get(), &json, &error);
  require_property(status != NANOCHAT_OK && json == nullptr);
  check(status, error);
  error = nullptr;
  const nanochat_status read =
      nanochat_warm_options_from_env(const_cast<nanochat_warm_options*>(options.get()), &error);
  check(read, error);
}

void import_only(const uint8_t* data, size_t size) {
  const Struct<nanochat_tokenizer_options> options(data, size);
  try {
    const auto known = nanochat::import_options(options.get(), "options", sizeof(nanochat_tokenizer_options));
    require_property(std::memcmp(&known, options.get(), sizeof known) == 0);
  } catch (const nanochat::Error& error) {
    require_property(error.status() == nanochat::Status::invalid_argument);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const World world;
  if (size == 0) return 0;
  const uint8_t kind = data[0] % 8;
  ++data;
  --size;
  if (kind == 0) create_runtime(data, size);
  if (kind == 1) create_model(world, data, size);
  if (kind == 2) train_tokenizer(world, data, size);
  if (kind == 3) generate(world, data, size);
  if (kind == 4) import_only(data, size);
  if (kind == 5) encode(world, data, size);
  if (kind == 6) embed(world, data, size);
  if (kind == 7) plan_fleet(world, data, size);
  return 0;
}
