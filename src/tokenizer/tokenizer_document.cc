#include "tokenizer/tokenizer_document.h"

#include <array>

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
    switch (table_) {
      case Table::none:
        add(std::move(value));
        return;
      case Table::vocab:
        if (value.is_number_integer()) return vocab_id(value);
        break;
      case Table::scored_vocab:
        if (in_pair_ && n_in_pair_ == 0 && value.is_string()) return pair_text(value);
        if (in_pair_ && n_in_pair_ == 1 && value.is_number()) return pair_score(value);
        break;
      case Table::merges:
        if (in_pair_ && value.is_string()) return pair_text(value);
        if (!in_pair_ && value.is_string()) return merge_text(value.get_ref<const std::string&>());
        break;
    }
    refuse_entry(excerpt(write_json(value)));
  }
  void start_object() override {
    if (table_ != Table::none) refuse_entry("an object");
    if (is_at("vocab")) return start(Table::vocab, document_.has_vocab);
    open(Json::object());
  }
  void start_array() override {
    if (table_ == Table::vocab) refuse_entry("an array");
    if (table_ != Table::none) {
      if (in_pair_) refuse_entry("an array in a pair");
      in_pair_ = true;
      n_in_pair_ = 0;
      return;
    }
    if (is_at("merges")) return start(Table::merges, document_.has_merges);
    if (is_at("vocab")) return start(Table::scored_vocab, document_.has_scored_vocab);
    open(Json::array());
  }
  void end_object() override {
    if (table_ != Table::vocab) return close();
    table_ = Table::none;
  }
  void end_array() override {
    if (table_ == Table::none) return close();
    if (!in_pair_) {
      table_ = Table::none;
      return;
    }
    in_pair_ = false;
    if (n_in_pair_ != 2) {
      refuse_entry(format_text("{} {} in a pair", n_in_pair_, table_ == Table::merges ? "texts" : "values"));
    }
    if (table_ == Table::merges) {
      document_.merges.emplace_back(pair_[0], pair_[1]);
    } else {
      document_.scored_vocab.emplace_back(pair_[0], score_);
    }
  }
  void key(std::string&& key) override {
    key_ = std::move(key);
    if (table_ == Table::vocab) return;
    const Json& object = *open_.back();
    if (object.size() >= kMaxKeys) refuse(format_text("an object of more than {} keys", kMaxKeys));
    const bool is_table =
        in_model() && ((key_ == "vocab" && (document_.has_vocab || document_.has_scored_vocab)) ||
                       (key_ == "merges" && document_.has_merges));
    if (is_table || object.contains(key_))
      refuse(format_text("key '{}' appears twice in one object", excerpt(key_)));
  }

 private:
  enum class Table { none, vocab, scored_vocab, merges };

  [[noreturn]] void refuse(std::string_view reason) const {
    throw Error(Status::format_invalid).subject(name_).say("{}: {}", name_, reason);
  }
  [[noreturn]] void refuse_entry(std::string_view found) const {
    if (table_ == Table::vocab)
      refuse(format_text("model.vocab: '{}' has {} for an id", excerpt(key_), found));
    if (table_ == Table::scored_vocab)
      refuse(format_text("model.vocab[{}]: found {}, expected a text and a number",
                         document_.scored_vocab.size(), found));
    refuse(format_text("model.merges[{}]: found {}, expected two texts", document_.merges.size(), found));
  }

  bool in_model() const { return open_.size() == 2 && model_ && open_.back() == model_; }
  bool is_at(const char* key) const { return in_model() && key_ == key; }

  void start(Table table, bool& has) {
    has = true;
    table_ = table;
  }
  void vocab_id(const Json& value) {
    const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
    document_.vocab.emplace_back(document_.texts.keep(key_), fits ? value.get<int64_t>() : -1);
  }
  void pair_text(const Json& value) {
    if (n_in_pair_ < pair_.size()) {
      pair_[n_in_pair_] = document_.texts.keep(value.get_ref<const std::string&>());
    }
    ++n_in_pair_;
  }
  void pair_score(const Json& value) {
    score_ = value.get<double>();
    ++n_in_pair_;
  }
  // Before 2024 a merge was written as one text with a space between the two.
  void merge_text(const std::string& text) {
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      refuse_entry(format_text("'{}'", excerpt(text)));
    }
    const std::string_view kept = document_.texts.keep(text);
    document_.merges.emplace_back(kept.substr(0, space), kept.substr(space + 1));
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
  size_t n_in_pair_ = 0;
  std::string key_;
  std::array<std::string_view, 2> pair_;
  double score_ = 0;
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
