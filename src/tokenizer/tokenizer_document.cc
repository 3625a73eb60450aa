#include "tokenizer/tokenizer_document.h"

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxKeys =
    4096;  // of one object outside the vocabulary: looking for a repeated key is linear

// Builds the document from the parser's events. `open_` are the containers around the current place; inside a
// table no container is open, and its entries go to the vectors.
class Reader final : public JsonEvents {
 public:
  Reader(TokenizerDocument& document, std::string_view name) : document_(document), name_(name) {}

  void scalar(Json&& value) override {
    if (table_ == Table::vocab && value.is_number_integer()) return vocab_id(value);
    if (table_ == Table::merges && value.is_string()) return merge_text(value.get_ref<const std::string&>());
    if (table_ != Table::none) refuse_entry(excerpt(write_json(value)));
    add(std::move(value));
  }
  void start_object() override {
    if (table_ != Table::none) refuse_entry("an object");
    if (is_at("vocab")) {
      if (document_.has_vocab) refuse("model.vocab appears twice");
      document_.has_vocab = true;
      table_ = Table::vocab;
      return;
    }
    open(Json::object());
  }
  void start_array() override {
    if (table_ == Table::vocab) refuse_entry("an array");
    if (table_ == Table::merges) {
      if (in_pair_) refuse_entry("an array in a pair");
      in_pair_ = true;
      pair_.clear();
      return;
    }
    if (is_at("merges")) {
      if (document_.has_merges) refuse("model.merges appears twice");
      document_.has_merges = true;
      table_ = Table::merges;
      return;
    }
    open(Json::array());
  }
  void end_object() override {
    if (table_ != Table::vocab) return close();
    table_ = Table::none;
  }
  void end_array() override {
    if (table_ != Table::merges) return close();
    if (!in_pair_) {
      table_ = Table::none;
      return;
    }
    in_pair_ = false;
    if (pair_.size() != 2) refuse_entry(format_text("{} texts in a pair", pair_.size()));
    document_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
  }
  void key(std::string&& key) override {
    key_ = std::move(key);
    if (table_ == Table::vocab) return;
    const Json& object = *open_.back();
    if (object.size() >= kMaxKeys) refuse(format_text("an object of more than {} keys", kMaxKeys));
    const bool is_table = in_model() && ((key_ == "vocab" && document_.has_vocab) ||
                                         (key_ == "merges" && document_.has_merges));
    if (is_table || object.contains(key_))
      refuse(format_text("key '{}' appears twice in one object", excerpt(key_)));
  }

 private:
  enum class Table { none, vocab, merges };

  [[noreturn]] void refuse(std::string_view reason) const {
    throw Error(Status::format_invalid).subject(name_).say("{}: {}", name_, reason);
  }
  [[noreturn]] void refuse_entry(std::string_view found) const {
    if (table_ == Table::vocab)
      refuse(format_text("model.vocab: '{}' has {} for an id", excerpt(key_), found));
    refuse(format_text("model.merges[{}]: found {}, expected two texts", document_.merges.size(), found));
  }

  bool in_model() const { return open_.size() == 2 && model_ && open_.back() == model_; }
  bool is_at(const char* key) const { return in_model() && key_ == key; }

  void vocab_id(const Json& value) {
    const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
    document_.vocab.emplace_back(std::move(key_), fits ? value.get<int64_t>() : -1);
    key_.clear();
  }
  // Before 2024 a merge was written as one text with a space between the two.
  void merge_text(const std::string& text) {
    if (in_pair_) {
      pair_.push_back(text);
      return;
    }
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      refuse_entry(format_text("'{}'", excerpt(text)));
    }
    document_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }

  Json* add(Json value) {
    if (open_.empty()) {
      *document_.rest = std::move(value);
      return document_.rest.get();
    }
    Json& parent = *open_.back();
    if (parent.is_array()) return &parent.emplace_back(std::move(value));
    return &(parent[key_] = std::move(value));
  }
  void open(Json container) {
    if (open_.size() >= kMaxDepth) refuse(format_text("nested deeper than {} levels", kMaxDepth));
    const bool is_model =
        open_.size() == 1 && open_.back()->is_object() && key_ == "model" && container.is_object();
    open_.push_back(add(std::move(container)));
    if (is_model) model_ = open_.back();
  }
  void close() {
    if (open_.back() == model_) model_ = nullptr;
    open_.pop_back();
  }

  TokenizerDocument& document_;
  std::string_view name_;
  std::vector<Json*> open_;  // stays valid: a container only grows while its last child is open or done
  const Json* model_ = nullptr;
  Table table_ = Table::none;
  bool in_pair_ = false;
  std::string key_;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerDocument::TokenizerDocument() : rest(std::make_unique<Json>()) {}
TokenizerDocument::TokenizerDocument(TokenizerDocument&&) noexcept = default;
TokenizerDocument::~TokenizerDocument() = default;

TokenizerDocument read_tokenizer_document(std::string_view text, std::string_view name) {
  TokenizerDocument document;
  Reader reader(document, name);
  parse_json_events(text, name, reader);
  return document;
}

}  // namespace nanochat
