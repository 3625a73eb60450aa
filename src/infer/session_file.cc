// Session files, little-endian: the header below, then tokens (int32), logits (float), cache (see
// KvCache::serialize).
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "infer/session.h"

namespace nanochat {

namespace {

static_assert(std::endian::native == std::endian::little, "session files are written as they are in memory");

// As PNG's: a transfer that changes line ends or cuts the eighth bit breaks the magic.
constexpr unsigned char kMagic[8] = {0x89, 'N', 'C', 'S', '\r', '\n', 0x1A, '\n'};
constexpr uint32_t kVersion = 1;

struct Header {
  unsigned char magic[8];
  uint32_t version;
  uint16_t weight_dtype;  // of the model in memory: the cache's bits depend on it
  uint16_t kv_dtype;      // DType of the cache: f32, bf16 or i8
  uint64_t model_low, model_high;
  uint64_t n_tokens, n_logits, cache_bytes;
  uint64_t tokens_low, tokens_high, logits_low, logits_high, cache_low, cache_high;
  uint64_t header_hash;  // of all bytes before it
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 112, "no padding");

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span<const T>(values));
}

uint64_t hash_of(const Header& header) {
  return hash64(std::as_bytes(std::span<const Header>(&header, 1)).first(offsetof(Header, header_hash)));
}

Error fault(Status status, const std::string& path) {
  Error error(status);
  error.subject(path);
  return error;
}

std::string weight_name(uint32_t weight_dtype) {
  switch (static_cast<WeightDtype>(weight_dtype)) {
    case WeightDtype::as_stored:
      return "as stored";
    case WeightDtype::f32:
      return "f32";
    case WeightDtype::bf16:
      return "bf16";
    case WeightDtype::i8:
      return "int8";
    case WeightDtype::f8:
      return "fp8";
  }
  return std::to_string(weight_dtype);
}

struct Payload {
  std::span<const std::byte> tokens, logits, cache;
};

void check_model(const Header& header, const Model& model, const std::string& path) {
  const Hash128 made_with{header.model_low, header.model_high};
  if (made_with != model.checksum()) {
    throw fault(Status::checksum_mismatch, path)
        .say("{}: made with a model of checksum {}, this model's is {}", path, made_with.hex(),
             model.checksum().hex())
        .hint("load the session with the model it was saved with");
  }
  const auto weights = static_cast<uint32_t>(model.weight_dtype());
  if (header.weight_dtype != weights) {
    throw fault(Status::checksum_mismatch, path)
        .say("{}: made with weights held as {}, this model holds them as {}", path,
             weight_name(header.weight_dtype), weight_name(weights))
        .hint("load the model with the weight type it had when the session was saved");
  }
}

Header read_header(std::span<const std::byte> bytes, const std::string& path) {
  Header header;
  if (bytes.size() < sizeof header) {
    throw fault(Status::format_invalid, path)
        .say("{}: {} bytes, a session file has at least {}", path, bytes.size(), sizeof header);
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    throw fault(Status::format_invalid, path)
        .say("{}: the first bytes are not those of a session file", path);
  }
  if (header.version != kVersion) {
    throw fault(Status::version_mismatch, path)
        .say("{}: session format {}, this library reads {}", path, header.version, kVersion);
  }
  if (header.header_hash != hash_of(header)) {
    throw fault(Status::checksum_mismatch, path)
        .say("{}: header checksum {}, its bytes give {}", path, header.header_hash, hash_of(header));
  }
  return header;
}

// Cuts the file at the places that the header states; every byte must belong to something.
Payload cut_payload(const Header& header, std::span<const std::byte> bytes, const std::string& path) {
  uint64_t token_bytes = 0, logit_bytes = 0, expected = sizeof(Header);
  const bool fits = checked_multiply(header.n_tokens, sizeof(int32_t), token_bytes) &&
                    checked_multiply(header.n_logits, sizeof(float), logit_bytes) &&
                    checked_add(expected, token_bytes, expected) &&
                    checked_add(expected, logit_bytes, expected) &&
                    checked_add(expected, header.cache_bytes, expected);
  if (!fits || expected != bytes.size()) {
    throw fault(Status::format_invalid, path)
        .say("{}: {} bytes, its header states {}", path, bytes.size(),
             fits ? std::to_string(expected) : std::string("more than can be counted"));
  }
  Payload payload;
  payload.tokens = bytes.subspan(sizeof(Header), token_bytes);
  payload.logits = bytes.subspan(sizeof(Header) + token_bytes, logit_bytes);
  payload.cache = bytes.subspan(sizeof(Header) + token_bytes + logit_bytes);
  return payload;
}

DType check_kv_dtype(const Header& header, std::optional<DType> asked, const std::string& path) {
  const auto stored = static_cast<DType>(header.kv_dtype);
  if (stored != DType::f32 && stored != DType::bf16 && stored != DType::i8) {
    throw fault(Status::format_invalid, path)
        .say("{}: keys and values of type {}, this library knows {}, {} and {}", path, header.kv_dtype,
             static_cast<int>(DType::f32), static_cast<int>(DType::bf16), static_cast<int>(DType::i8));
  }
  if (asked && *asked != stored) {
    throw fault(Status::invalid_argument, path)
        .say("{}: keys and values are stored as {}, {} was asked for", path, dtype_name(stored),
             dtype_name(*asked))
        .hint("load it with the kv_dtype that it was saved with, or with the default");
  }
  return stored;
}

void check_hash(std::span<const std::byte> bytes, const Hash128& stated, const char* what,
                const std::string& path) {
  const Hash128 actual = hash128(bytes);
  if (actual == stated) return;
  throw fault(Status::checksum_mismatch, path)
      .say("{}: {} checksum {}, their bytes give {}", path, what, stated.hex(), actual.hex());
}

template <class T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// A file with correct checksums can still be one that nobody's save() wrote.
void check_contents(const Header& header, const std::vector<int32_t>& tokens, int64_t vocab_size,
                    const std::string& path) {
  if (header.n_logits != 0 && tokens.empty()) {
    throw fault(Status::format_invalid, path).say("{}: 0 tokens, but {} logits", path, header.n_logits);
  }
  if (header.n_logits != 0 && header.n_logits != static_cast<uint64_t>(vocab_size)) {
    throw fault(Status::format_invalid, path)
        .say("{}: {} logits, the model has a vocabulary of {}", path, header.n_logits, vocab_size);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    throw fault(Status::format_invalid, path)
        .say("{}: token {} is {}, the model has a vocabulary of {}", path, i, tokens[i], vocab_size);
  }
}

}  // namespace

void Session::save(const std::string& path) const {
  const std::vector<std::byte> cache = cache_.serialize();
  const Hash128 tokens_hash = hash128(bytes_of(tokens_));
  const Hash128 logits_hash = hash128(bytes_of(last_logits_));
  const Hash128 cache_hash = hash128(cache);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.weight_dtype = static_cast<uint16_t>(model().weight_dtype());
  header.kv_dtype = static_cast<uint16_t>(kv_dtype());
  header.model_low = model().checksum().low, header.model_high = model().checksum().high;
  header.n_tokens = tokens_.size(), header.n_logits = last_logits_.size(), header.cache_bytes = cache.size();
  header.tokens_low = tokens_hash.low, header.tokens_high = tokens_hash.high;
  header.logits_low = logits_hash.low, header.logits_high = logits_hash.high;
  header.cache_low = cache_hash.low, header.cache_high = cache_hash.high;
  header.header_hash = hash_of(header);

  AtomicFile file(path);
  file.write(std::as_bytes(std::span<const Header>(&header, 1)));
  file.write(bytes_of(tokens_));
  file.write(bytes_of(last_logits_));
  file.write(cache);
  file.commit();
}

std::unique_ptr<Session> Session::load(std::shared_ptr<const Model> model, const std::string& path,
                                       int64_t capacity, std::optional<DType> kv_dtype) {
  if (!model) throw Error(Status::invalid_argument).subject("model").say("a session needs a model, got none");
  const MappedFile file(path);
  const Header header = read_header(file.bytes(), path);
  const Payload payload = cut_payload(header, file.bytes(), path);
  check_model(header, *model, path);
  const DType stored_dtype = check_kv_dtype(header, kv_dtype, path);
  check_hash(payload.tokens, {header.tokens_low, header.tokens_high}, "tokens:", path);
  check_hash(payload.logits, {header.logits_low, header.logits_high}, "logits:", path);
  check_hash(payload.cache, {header.cache_low, header.cache_high}, "keys and values:", path);
  std::vector<int32_t> tokens = values_of<int32_t>(payload.tokens);
  check_contents(header, tokens, model->config().vocab_size, path);

  const int64_t asked = capacity == 0 ? model->config().sequence_len : capacity;
  if (asked > 0 && header.n_tokens > static_cast<uint64_t>(asked)) {
    throw fault(Status::out_of_range, path)
        .say("{}: holds {} tokens, more than the capacity of {} asked for", path, header.n_tokens, asked)
        .hint("ask for a larger capacity");
  }
  auto session = std::make_unique<Session>(std::move(model), capacity, stored_dtype);
  try {
    session->cache_.deserialize(payload.cache, static_cast<int64_t>(tokens.size()));
  } catch (const Error& error) {
    throw fault(error.status(), path).say("{}: {}", path, error.message()).cause(error);
  }
  session->tokens_.assign(tokens.begin(), tokens.end());
  session->last_logits_ = values_of<float>(payload.logits);
  return session;
}

}  // namespace nanochat
