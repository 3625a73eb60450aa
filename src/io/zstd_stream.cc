#include "io/zstd_stream.h"

#include <memory>
#include <vector>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/error.h"
#include "base/file.h"

namespace nanochat {

namespace {

constexpr int kMaxWindowLog = 27;  // 128 MiB: what zstd's own command line accepts without being asked

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

[[noreturn]] void refuse(std::string_view name, size_t offset, size_t size, std::string_view reason) {
  throw Error(Status::format_invalid)
      .subject(name)
      .say("{}: not valid zstd at byte {} of {}: {}", name, offset, size, reason);
}

[[noreturn]] void refuse_code(std::string_view name, size_t offset, size_t size, size_t code) {
  switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation:
      throw Error(Status::out_of_memory).subject(name).say("{}: no memory to decompress", name);
    case ZSTD_error_frameParameter_windowTooLarge:
      refuse(name, offset, size,
             format_text("the frame needs a window above {} bytes", size_t{1} << kMaxWindowLog));
    default:
      refuse(name, offset, size, ZSTD_getErrorName(code));
  }
}

void check_compression(size_t code) {
  if (ZSTD_isError(code) == 0) return;
  const bool no_memory = ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation;
  throw Error(no_memory ? Status::out_of_memory : Status::internal).say("zstd: {}", ZSTD_getErrorName(code));
}

}  // namespace

struct ZstdDecoder::State {
  std::string name;
  uint64_t input_bytes = 0, offset = 0;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context;
  size_t missing = 1;  // at least so many bytes until the frame ends; 0: between frames
};

ZstdDecoder::ZstdDecoder(std::string_view name, uint64_t input_bytes) : state_(std::make_unique<State>()) {
  state_->name = name;
  state_->input_bytes = input_bytes;
  state_->context.reset(ZSTD_createDCtx());
  if (!state_->context) {
    throw Error(Status::out_of_memory).subject(name).say("{}: no memory to decompress", name);
  }
  const size_t limit = ZSTD_DCtx_setParameter(state_->context.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  if (ZSTD_isError(limit) != 0) throw_internal(ZSTD_getErrorName(limit));
}

ZstdDecoder::~ZstdDecoder() = default;
ZstdDecoder::ZstdDecoder(ZstdDecoder&&) noexcept = default;

uint64_t ZstdDecoder::offset() const { return state_->offset; }

size_t ZstdDecoder::decode(std::span<const std::byte>& input, std::span<std::byte> out) {
  State& state = *state_;
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  while (to.pos < to.size && (!input.empty() || state.missing != 0)) {
    ZSTD_inBuffer from{input.data(), input.size(), 0};
    const size_t before = to.pos;
    state.missing = ZSTD_decompressStream(state.context.get(), &to, &from);
    state.offset += from.pos;
    if (ZSTD_isError(state.missing) != 0) {
      refuse_code(state.name, state.offset, state.input_bytes, state.missing);
    }
    input = input.subspan(from.pos);
    if (from.pos == 0 && to.pos == before) break;  // it waits for more input
  }
  return to.pos;
}

void ZstdDecoder::finish() const {
  if (state_->missing == 0) return;
  if (state_->offset == 0) {
    refuse(state_->name, 0, state_->input_bytes, "empty, expected at least one frame");
  }
  refuse(state_->name, state_->offset, state_->input_bytes,
         format_text("the last frame is cut short, at least {} bytes are missing", state_->missing));
}

void decompress_zstd(std::span<const std::byte> input, std::string_view name, uint64_t max_bytes,
                     const std::function<void(std::span<const std::byte>)>& sink) {
  ZstdDecoder decoder(name, input.size());
  const size_t input_bytes = input.size();
  std::vector<std::byte> buffer(ZSTD_DStreamOutSize());
  uint64_t produced = 0;
  while (const size_t n = decoder.decode(input, buffer)) {
    if (n > max_bytes - produced) {
      throw Error(Status::out_of_range)
          .subject(name)
          .say("{}: more than {} bytes after decompression (at byte {} of {})", name, max_bytes,
               decoder.offset(), input_bytes);
    }
    produced += n;
    sink({buffer.data(), n});
  }
  decoder.finish();
}

std::string decompress_zstd(std::span<const std::byte> input, std::string_view name, uint64_t max_bytes) {
  std::string out;
  decompress_zstd(input, name, max_bytes, [&](std::span<const std::byte> piece) {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return out;
}

std::string compress_zstd(std::span<const std::byte> input, int level) {
  const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (!context) throw Error(Status::out_of_memory).say("no memory to compress {} bytes", input.size());
  check_compression(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level));
  check_compression(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1));
  std::string out(ZSTD_compressBound(input.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), input.data(), input.size());
  check_compression(size);
  out.resize(size);
  return out;
}

std::string read_text_file(const std::string& path, uint64_t max_bytes) {
  if (!path.ends_with(".zst")) return read_file(path, max_bytes);
  const MappedFile file(path);
  return decompress_zstd(file.bytes(), path, max_bytes);
}

}  // namespace nanochat
