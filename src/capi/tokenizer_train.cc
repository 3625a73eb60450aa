#include "base/file.h"
#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/split_pattern.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/training_files.h"
#include "tokenizer/vocabulary_file.h"

using namespace nanochat;

namespace {

constexpr size_t kTrainOptionsSize = 56;
constexpr int32_t kDefaultVocabSize = 32768;

nanochat_tokenizer_train_options import_train_options(const nanochat_tokenizer_train_options* options) {
  const auto known = import_options(options, "nanochat_tokenizer_train_options", kTrainOptionsSize);
  require_enum(known.documents, NANOCHAT_DOCUMENTS_LINES, "nanochat_tokenizer_train_options.documents");
  require_zero(known.reserved, "nanochat_tokenizer_train_options.reserved");
  return known;
}

BpeTrainOptions trainer_options(const nanochat_tokenizer_train_options& known) {
  BpeTrainOptions train;
  train.vocab_size = known.vocab_size == 0 ? kDefaultVocabSize : known.vocab_size;
  train.pattern = import_pattern(known.pattern, "nanochat_tokenizer_train_options.pattern");
  train.special_tokens = import_strings(known.special_tokens, known.n_special_tokens,
                                        "nanochat_tokenizer_train_options.special_tokens");
  train.memory_limit = known.memory_limit;
  if (known.spill_directory != nullptr) train.spill_folder = import_path(known.spill_directory);
  return train;
}

// Documents that come one by one are copied until there are enough for all threads. A long one is counted
// where it lies.
class DocumentGatherer {
 public:
  DocumentGatherer(BpeTrainer& trainer, ThreadPool& threads, const Watch& watch)
      : trainer_(trainer), threads_(threads), watch_(watch), room_(room(trainer, threads)) {
    bytes_.reserve(room_);
  }

  void add(std::string_view text) {
    if (text.size() > room_ - bytes_.size()) flush();
    if (text.size() > room_) {
      trainer_.add_documents({&text, 1}, threads_, watch_);
      return;
    }
    views_.emplace_back(bytes_.data() + bytes_.size(), text.size());
    bytes_ += text;  // never more than was reserved: the views stay
    if (views_.size() == kMaxDocuments) flush();
  }
  void flush() {
    trainer_.add_documents(views_, threads_, watch_);
    views_.clear();
    bytes_.clear();
  }

 private:
  static constexpr size_t kBytesPerThread = size_t{1} << 20, kMinBytes = size_t{1} << 16;
  static constexpr size_t kMaxDocuments = size_t{1} << 14;

  static size_t room(const BpeTrainer& trainer, const ThreadPool& threads) {
    const size_t wanted = kBytesPerThread * static_cast<size_t>(threads.n_threads());
    const uint64_t limit = trainer.options().memory_limit;
    return limit == 0 ? wanted : std::clamp<size_t>(limit / 8, kMinBytes, wanted);
  }

  BpeTrainer& trainer_;
  ThreadPool& threads_;
  const Watch& watch_;
  size_t room_;
  std::string bytes_;
  std::vector<std::string_view> views_;  // into bytes_
};

void add_documents(BpeTrainer& trainer, nanochat_document_callback next_document, void* user_data,
                   ThreadPool& threads, const Watch& watch) {
  DocumentGatherer gatherer(trainer, threads, watch);
  while (true) {
    watch.check();
    const char* text = nullptr;
    size_t size = 0;
    const int32_t answer = next_document(&text, &size, user_data);
    if (answer == 0) return gatherer.flush();
    if (answer < 0) {
      throw Error(Status::cancelled).subject("next_document").say("next_document gave up with {}", answer);
    }
    gatherer.add(import_text(text, size, "next_document text"));
  }
}

nanochat_tokenizer* finish(const BpeTrainer& trainer, const SharedCore& core, const Watch& watch) {
  const BpeTrainResult result = trainer.train(*core->threads, watch);
  return new nanochat_tokenizer{core, trainer.make_tokenizer(result)};
}

}  // namespace

extern "C" {

void nanochat_tokenizer_train_options_init(nanochat_tokenizer_train_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_tokenizer_train(const nanochat_runtime* runtime,
                                         const nanochat_tokenizer_train_options* options,
                                         nanochat_document_callback next_document, void* user_data,
                                         nanochat_tokenizer** out_tokenizer, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(reinterpret_cast<const void*>(next_document), "next_document");
    require_pointer(out_tokenizer, "out_tokenizer");
    const auto known = import_train_options(options);
    const Watch watch = make_watch(known.progress, known.progress_user_data, known.cancel);
    BpeTrainer trainer(trainer_options(known));
    add_documents(trainer, next_document, user_data, *core->threads, watch);
    *out_tokenizer = finish(trainer, core, watch);
  });
}

nanochat_status nanochat_tokenizer_train_files(const nanochat_runtime* runtime,
                                               const nanochat_tokenizer_train_options* options,
                                               const char* const* paths, size_t n_paths,
                                               nanochat_tokenizer** out_tokenizer, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_tokenizer, "out_tokenizer");
    TrainingFiles files;
    files.paths = import_strings(paths, n_paths, "paths");
    if (files.paths.empty()) {
      throw Error(Status::invalid_argument).subject("paths").say("n_paths is 0, expected at least one path");
    }
    const auto known = import_train_options(options);
    if (known.text_field != nullptr) {
      files.text_field = import_text(known.text_field, NANOCHAT_NUL_TERMINATED, "text_field");
    }
    files.text_is_lines = known.documents == NANOCHAT_DOCUMENTS_LINES;
    const Watch watch = make_watch(known.progress, known.progress_user_data, known.cancel);
    BpeTrainer trainer(trainer_options(known));
    add_document_files(trainer, files, *core->threads, watch);
    *out_tokenizer = finish(trainer, core, watch);
  });
}

nanochat_status nanochat_tokenizer_save_as(const nanochat_tokenizer* tokenizer, const char* path,
                                           int32_t form, nanochat_error** error) {
  return guard(error, [&] {
    const Tokenizer& source = *require_handle(tokenizer, "tokenizer").tokenizer;
    const std::string target = import_path(path);
    require_enum(form, NANOCHAT_TOKENIZER_TOKEN_BYTES, "form");
    if (form == NANOCHAT_TOKENIZER_JSON) {
      write_file(target, source.to_json());
    } else if (form == NANOCHAT_TOKENIZER_TIKTOKEN) {
      write_file(target, tiktoken_ranks(source));
    } else {
      write_token_bytes(source, target);
    }
  });
}

}  // extern "C"
