#include "infer/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace nanochat {

uint64_t PrefixCache::key_of(const Node* parent, PageTokens tokens) {
  return hash64(std::as_bytes(tokens), reinterpret_cast<uintptr_t>(parent));
}

PrefixCache::Node* PrefixCache::find(const Node* parent, PageTokens tokens) const {
  const auto [begin, end] = nodes_.equal_range(key_of(parent, tokens));
  for (auto it = begin; it != end; ++it) {
    Node* node = it->second.get();
    if (node->parent_ == parent && std::equal(tokens.begin(), tokens.end(), node->tokens_.begin())) {
      return node;
    }
  }
  return nullptr;
}

PrefixCache::Node* PrefixCache::add(const Node* parent, PageTokens tokens, KvPage page) {
  auto node = std::make_unique<Node>();
  node->parent_ = parent;
  node->key_ = key_of(parent, tokens);
  std::copy(tokens.begin(), tokens.end(), node->tokens_.begin());
  node->seat_ = node->place_.insert(node->place_.end(), node.get());
  node->n_users_ = 1;
  Node* added = node.get();
  nodes_.emplace(added->key_, std::move(node));
  if (page) publish(added, std::move(page));
  return added;
}

void PrefixCache::publish(Node* node, KvPage page) noexcept {
  node->page_ = std::move(page);
  ++n_used_;
}

void PrefixCache::use(Node* node) noexcept {
  if (++node->n_users_ > 1 || !node->page_) return;
  node->place_.splice(node->place_.end(), unused_, node->seat_);
  ++n_used_;
}

void PrefixCache::leave(Node* node) noexcept {
  if (--node->n_users_ > 0) return;
  if (!node->page_) return erase(node);
  --n_used_;
  unused_.splice(unused_.end(), node->place_);
  if (n_unused() > n_keep_) evict_one();
}

bool PrefixCache::evict_one() noexcept {
  if (unused_.empty()) return false;
  Node* node = unused_.front();
  node->place_.splice(node->place_.end(), unused_, unused_.begin());
  erase(node);
  ++n_evicted_;
  return true;
}

void PrefixCache::erase(Node* node) noexcept {
  const auto [begin, end] = nodes_.equal_range(node->key_);
  nodes_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second.get() == node; }));
}

}  // namespace nanochat
