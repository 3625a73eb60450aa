// Checks and imports of what crosses the border: pointers, texts, option and info structs.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "base/cancel.h"
#include "base/error.h"
#include "capi/handles.h"
#include "nanochat.h"

namespace nanochat {

inline void require_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) {
    throw Error(Status::invalid_argument).subject(name).say("argument '{}' is NULL", name);
  }
}

// Handles are pointers too, but have a process that they belong to.
template <class Handle>
Handle& require_handle(Handle* handle, const char* name) {
  require_pointer(handle, name);
  handle->core->require_same_process();
  return *handle;
}

std::string_view import_text(const char* text, size_t size, const char* name);
std::string import_path(const char* path);  // not NULL, not empty

// An enum or flag of the header that must lie in [0, last].
void require_enum(int64_t value, int64_t last, const char* name);
void require_zero(int64_t value, const char* name);
DType import_kv_dtype(int32_t value, const char* name);  // enum nanochat_kv_values; the default is f32

void require_input(const Embeddings& embeddings, size_t input);  // throws out_of_range

Watch make_watch(nanochat_progress_callback progress, void* user_data, const nanochat_cancel* cancel);

// Size checks shared by every option struct; `tail` is what the caller's struct has beyond ours.
void check_options(const char* name, size_t struct_size, size_t first_size, size_t known_size,
                   const void* tail);
void check_info(const char* name, size_t struct_size, size_t first_size);

// A copy with every field known: the caller's, or zero where its struct is older. `first_size` is the size in
// the first release that had the struct; it is never raised.
template <class T>
T import_options(const T* options, const char* name, size_t first_size) {
  T known{};
  if (options == nullptr) return known;
  const size_t size = options->struct_size;
  check_options(name, size, first_size, sizeof(T), reinterpret_cast<const char*>(options) + sizeof(T));
  std::memcpy(&known, options, size < sizeof(T) ? size : sizeof(T));
  return known;
}

// Throws before anything is computed if the caller's struct cannot be filled.
template <class T>
void require_info(const T* info, const char* name, size_t first_size) {
  require_pointer(info, name);
  check_info(name, info->struct_size, first_size);
}

// Fills the caller's struct as far as both sides know it; fields it has beyond ours become zero.
template <class T>
void export_info(const T& filled, T* info) {
  const size_t size = info->struct_size;
  const size_t common = size < sizeof(T) ? size : sizeof(T);
  std::memcpy(info, &filled, common);
  std::memset(reinterpret_cast<char*>(info) + common, 0, size - common);
  info->struct_size = size;
}

// Into a field of an info struct, cut to what fits with its NUL.
template <size_t kSize>
void export_text(std::string_view text, char (&field)[kSize]) {
  const size_t n = text.size() < kSize ? text.size() : kSize - 1;
  std::memcpy(field, text.data(), n);
  field[n] = '\0';
}

// A C array of a caller: NULL is legal only when it is empty.
template <class T>
std::vector<T> import_array(const T* values, size_t n, const char* name) {
  if (n == 0) return {};
  require_pointer(values, name);
  return std::vector<T>(values, values + n);
}
std::vector<std::string> import_strings(const char* const* strings, size_t n, const char* name);

// Texts with their lengths; without `sizes` all end with a NUL byte.
struct TextArray {
  const char* const* texts;
  const size_t* sizes;
  size_t n;
};
std::vector<std::string_view> import_texts(const TextArray& list);

inline void init_options(void* options, size_t size) {
  if (options == nullptr || size < sizeof(size_t)) return;
  std::memset(options, 0, size);
  std::memcpy(options, &size, sizeof size);
}

inline nanochat_text* make_text(std::string data) { return new nanochat_text{std::move(data)}; }

}  // namespace nanochat
