#include "model/model_export.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "model/slot_rows.h"

namespace nanochat {

namespace {

using Role = TensorRole;

// The bits that are all set in what is not finite.
uint16_t full_exponent(DType dtype) { return dtype == DType::bf16 ? 0x7f80U : 0x7c00U; }

DType file_dtype(const Model& model, const TensorSlot& slot, ExportDtype wanted) {
  const TensorKind kind = kind_of(slot.role);
  if (kind != TensorKind::matrix && kind != TensorKind::table) return DType::f32;
  switch (wanted) {
    case ExportDtype::f32:
      return DType::f32;
    case ExportDtype::bf16:
      return DType::bf16;
    case ExportDtype::f16:
      return DType::f16;
    case ExportDtype::as_held:
      break;
  }
  return held_dtype(model.weights(), slot) == DType::bf16 ? DType::bf16 : DType::f32;
}

std::string gguf_name(const ModelConfig& config, const TensorSlot& slot) {
  const auto in_layer = [&](const char* name) { return format_text("blk.{}.{}.weight", slot.layer, name); };
  switch (slot.role) {
    case Role::embedding:
      return "token_embd.weight";
    case Role::lm_head:  // readers take the embedding where there is no head
      return config.lm_head == LmHead::tied ? "token_embd.weight" : "output.weight";
    case Role::final_norm:
      return "output_norm.weight";
    case Role::attention_norm:
      return in_layer("attn_norm");
    case Role::q:
      return in_layer("attn_q");
    case Role::k:
      return in_layer("attn_k");
    case Role::v:
      return in_layer("attn_v");
    case Role::o:
      return in_layer("attn_output");
    case Role::mlp_norm:
      return in_layer("ffn_norm");
    case Role::mlp_gate:
      return in_layer("ffn_gate");
    case Role::mlp_in:
      return in_layer("ffn_up");
    case Role::mlp_out:
      return in_layer("ffn_down");
    default:
      throw_internal(format_text("GGUF has no name for tensor '{}'", slot.name));
  }
}

// Here a head's rope turns the pairs (i, i + head_dim / 2); readers of "llama" files turn (2 i, 2 i + 1). So
// row 2 i of a head in the file is row i, and row 2 i + 1 is row i + head_dim / 2. Scores are sums over the
// rows of a head, in whichever order.
RowOrder row_order(const ModelConfig& config, Role role) {
  if (role != Role::q && role != Role::k) return {};
  const int64_t head_dim = config.head_dim;
  return [head_dim](int64_t row) {
    const int64_t in_head = row % head_dim;
    return row - in_head + in_head / 2 + in_head % 2 * (head_dim / 2);
  };
}

// The numbers of the format for "mostly this type": that of most bytes.
uint32_t file_type(std::span<const GgufTensor> tensors) {
  uint64_t f16 = 0, bf16 = 0, f32 = 0;
  for (const GgufTensor& tensor : tensors) {
    const auto n = static_cast<uint64_t>(tensor.shape.size() == 2 ? tensor.shape[0] * tensor.shape[1] : 0);
    (tensor.dtype == DType::f16 ? f16 : tensor.dtype == DType::bf16 ? bf16 : f32) += n;
  }
  if (f16 > f32 && f16 > bf16) return 1;
  return bf16 > f32 ? 32 : 0;
}

uint32_t as_u32(int64_t value) { return static_cast<uint32_t>(value); }

std::vector<GgufEntry> metadata(const ModelConfig& config, const std::string& path,
                                std::span<const GgufTensor> tensors) {
  std::string name = file_name(path);
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  std::vector<GgufEntry> entries;
  entries.push_back({"general.architecture", std::string("llama")});
  entries.push_back({"general.type", std::string("model")});
  entries.push_back({"general.name", name});
  entries.push_back({"general.alignment", static_cast<uint32_t>(kGgufAlignment)});
  entries.push_back({"general.file_type", file_type(tensors)});
  entries.push_back({"llama.vocab_size", as_u32(config.vocab_size)});
  entries.push_back({"llama.context_length", as_u32(config.sequence_len)});
  entries.push_back({"llama.embedding_length", as_u32(config.n_embd)});
  entries.push_back({"llama.block_count", as_u32(config.n_layer)});
  entries.push_back({"llama.feed_forward_length", as_u32(config.mlp_hidden)});
  entries.push_back({"llama.attention.head_count", as_u32(config.n_head)});
  entries.push_back({"llama.attention.head_count_kv", as_u32(config.n_kv_head)});
  if (config.head_dim * config.n_head != config.n_embd) {
    entries.push_back({"llama.attention.key_length", as_u32(config.head_dim)});
    entries.push_back({"llama.attention.value_length", as_u32(config.head_dim)});
  }
  entries.push_back({"llama.attention.layer_norm_rms_epsilon", config.norm_eps});
  entries.push_back({"llama.rope.dimension_count", as_u32(config.head_dim)});
  entries.push_back({"llama.rope.freq_base", static_cast<float>(config.rope_base)});
  return entries;
}

// Streams tensors in the order in which they were declared.
class TensorStream {
 public:
  TensorStream(const Model& model, GgufWriter& out, const Watch& watch)
      : model_(model), out_(out), watch_(watch) {}

  void write(const TensorSlot& slot, DType dtype) {
    visit_rows(model_, slot, row_order(model_.config(), slot.role),
               [&](int64_t first_row, std::span<const float> values) {
                 if (dtype == DType::f32) return emit(std::as_bytes(values));
                 convert(slot, dtype, first_row, values);
                 emit(std::as_bytes(std::span(words_).first(values.size())));
               });
  }

 private:
  static constexpr int64_t kConverted = 64 * 1024;  // values, by one thread

  void emit(std::span<const std::byte> bytes) {
    out_.write(bytes);
    watch_.report("export", done_bytes_ += bytes.size(), out_.data_bytes());
  }

  void convert(const TensorSlot& slot, DType dtype, int64_t first_row, std::span<const float> values) {
    words_.resize(std::max(words_.size(), values.size()));
    const uint16_t full = full_exponent(dtype);
    std::atomic<bool> overflow{false};
    model_.device().threads().parallel_for(std::ssize(values), kConverted, [&](int64_t begin, int64_t end) {
      bool bad = false;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        words_[i] = dtype == DType::bf16 ? bf16_from_float(values[i]) : f16_from_float(values[i]);
        bad = bad || (words_[i] & full) == full;
      }
      if (bad) overflow = true;
    });
    if (overflow) refuse_overflow(slot, dtype, first_row, values);
  }

  [[noreturn]] void refuse_overflow(const TensorSlot& slot, DType dtype, int64_t first_row,
                                    std::span<const float> values) const {
    const uint16_t full = full_exponent(dtype);
    size_t i = 0;
    while ((words_[i] & full) != full) ++i;
    const int64_t width = slot.width();
    const RowOrder order = row_order(model_.config(), slot.role);
    const int64_t row = first_row + static_cast<int64_t>(i) / width;
    throw Error(Status::unsupported)
        .subject(slot.name)
        .hint("export as F32")
        .say("tensor '{}': element [{},{}] is {}, which {} cannot hold", slot.name, order ? order(row) : row,
             static_cast<int64_t>(i) % width, values[i], dtype_name(dtype));
  }

  const Model& model_;
  GgufWriter& out_;
  const Watch& watch_;
  std::vector<uint16_t> words_;
  uint64_t done_bytes_ = 0;
};

}  // namespace

void check_gguf_export(const ModelConfig& config) {
  if (config.format == ModelFormat::hf_llama) return;
  throw Error(Status::unsupported)
      .subject("model")
      .say(
          "a model of architecture \"{}\" cannot be exported as GGUF, whose readers have no such "
          "architecture: expected \"llama\"",
          config.architecture);
}

void export_gguf(const Model& model, std::vector<GgufEntry> vocabulary, const std::string& path,
                 ExportDtype dtype, const Watch& watch) {
  const ModelConfig& config = model.config();
  check_gguf_export(config);
  const std::vector<TensorSlot> slots = tensor_slots(config);
  std::vector<GgufTensor> tensors;
  for (const TensorSlot& slot : slots) {
    GgufTensor tensor;
    tensor.name = gguf_name(config, slot);
    tensor.dtype = file_dtype(model, slot, dtype);
    tensor.shape = slot.shape;
    tensors.push_back(std::move(tensor));
  }
  std::vector<GgufEntry> entries = metadata(config, path, tensors);
  // Moved, never copied: the lists of a vocabulary are large, and an allocation that failed inside a copied
  // variant crashed with GCC 12 (tests/api/memory_fault_test.cc).
  std::move(vocabulary.begin(), vocabulary.end(), std::back_inserter(entries));
  watch.check();
  GgufWriter out(path, entries, std::move(tensors));
  TensorStream stream(model, out, watch);
  for (const TensorSlot& slot : slots) stream.write(slot, file_dtype(model, slot, dtype));
  watch.check();
  out.commit();
}

}  // namespace nanochat
