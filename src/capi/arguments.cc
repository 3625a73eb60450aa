#include "capi/arguments.h"

namespace nanochat {

std::string_view import_text(const char* text, size_t size, const char* name) {
  if (size == 0) return {};
  require_pointer(text, name);
  return {text, size == NANOCHAT_NUL_TERMINATED ? std::strlen(text) : size};
}

std::string import_path(const char* path) {
  require_pointer(path, "path");
  if (*path == '\0') throw Error(Status::invalid_argument).subject("path").say("argument 'path' is empty");
  return path;
}

void require_enum(int64_t value, int64_t last, const char* name) {
  if (value < 0 || value > last) {
    throw Error(Status::invalid_argument).subject(name).say("{} is {}, expected 0 to {}", name, value, last);
  }
}

void require_zero(int64_t value, const char* name) {
  if (value != 0)
    throw Error(Status::invalid_argument).subject(name).say("{} is {}, expected 0", name, value);
}

DType import_kv_dtype(int32_t value, const char* name) {
  constexpr DType kTypes[] = {DType::f32, DType::f32, DType::bf16, DType::i8};
  require_enum(value, NANOCHAT_KV_INT8, name);
  return kTypes[value];
}

void require_input(const Embeddings& embeddings, size_t input) {
  if (input < embeddings.n_inputs()) return;
  throw Error(Status::out_of_range)
      .subject("input")
      .say("input is {}, the embeddings have {}", input, embeddings.n_inputs());
}

Watch make_watch(nanochat_progress_callback progress, void* user_data, const nanochat_cancel* cancel) {
  Watch watch;
  if (cancel != nullptr) watch.cancel = &cancel->token;
  if (progress != nullptr) {
    watch.on_progress = [progress, user_data](const Progress& at) {
      return progress(at.stage, at.done, at.total, user_data) == 0;
    };
  }
  return watch;
}

void check_options(const char* name, size_t struct_size, size_t first_size, size_t known_size,
                   const void* tail) {
  if (struct_size < first_size || struct_size % sizeof(size_t) != 0) {
    throw Error(Status::invalid_argument)
        .subject(name)
        .say("{}.struct_size is {}, expected at least {} and a multiple of {}", name, struct_size, first_size,
             sizeof(size_t))
        .hint("initialise the struct with its _INIT macro");
  }
  // A length no struct will ever have: an uninitialised field, not a newer header.
  constexpr size_t kLongest = 4096;
  if (struct_size > kLongest) {
    throw Error(Status::invalid_argument)
        .subject(name)
        .say("{}.struct_size is {}, expected at most {}", name, struct_size, kLongest);
  }
  const auto* bytes = static_cast<const unsigned char*>(tail);
  for (size_t i = known_size; i < struct_size; ++i) {
    if (bytes[i - known_size] != 0) {
      throw Error(Status::invalid_argument)
          .subject(name)
          .say(
              "{} has {} bytes, this library knows {}, and byte {} is not zero: it asks for an option that "
              "this "
              "library does not have",
              name, struct_size, known_size, i)
          .hint("use a newer library, or leave the new options at their defaults");
    }
  }
}

void check_info(const char* name, size_t struct_size, size_t first_size) {
  check_options(name, struct_size, first_size, struct_size, nullptr);
}

std::vector<std::string> import_strings(const char* const* strings, size_t n, const char* name) {
  std::vector<std::string> list;
  if (n == 0) return list;
  require_pointer(strings, name);
  for (size_t i = 0; i < n; ++i) {
    if (strings[i] == nullptr) {
      throw Error(Status::invalid_argument).subject(name).say("{}[{}] of {} is NULL", name, i, n);
    }
    list.emplace_back(strings[i]);
  }
  return list;
}

std::vector<std::string_view> import_texts(const TextArray& list) {
  const auto pointers = import_array(list.texts, list.n, "texts");
  std::vector<std::string_view> texts;
  texts.reserve(list.n);
  for (size_t i = 0; i < list.n; ++i) {
    const size_t size = list.sizes == nullptr ? NANOCHAT_NUL_TERMINATED : list.sizes[i];
    texts.push_back(import_text(pointers[i], size, "texts"));
  }
  return texts;
}

}  // namespace nanochat
