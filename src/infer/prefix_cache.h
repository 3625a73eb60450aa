// Full pages of keys and values, found by the tokens that lead to them: prompts that begin alike are computed
// once. A tree: the path from the root to a node is the beginning of a sequence, page by page.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>

#include "model/kv_page.h"

namespace nanochat {

// One thread at a time. Users of a node use all nodes above it too, and give them up from the deepest on.
class PrefixCache {
 public:
  class Node {
   public:
    // Empty while the user that claimed the node computes it.
    const KvPage& page() const { return page_; }

   private:
    friend class PrefixCache;
    const Node* parent_ = nullptr;
    uint64_t key_ = 0;
    std::array<int32_t, kPagePositions> tokens_{};
    KvPage page_;
    int64_t n_users_ = 0;
    std::list<Node*> place_;  // its seat, unless that stands in unused_
    std::list<Node*>::iterator seat_;
  };
  using PageTokens = std::span<const int32_t, kPagePositions>;

  // n_keep: pages that stay although nobody uses them; the longest unused goes first.
  explicit PrefixCache(int64_t n_keep) : n_keep_(n_keep) {}

  // The page of these tokens after `parent` (nullptr: at the start of a sequence); nullptr if nobody has it.
  // The tokens themselves are compared, a hash alone is not believed.
  Node* find(const Node* parent, PageTokens tokens) const;

  // Adds a node that find() must not have found, with its first user: with its page, or an empty one to be
  // published. Nothing is changed if memory is short.
  Node* add(const Node* parent, PageTokens tokens, KvPage page);
  void publish(Node* node, KvPage page) noexcept;  // the page that an added node lacked

  void use(Node* node) noexcept;
  // A node that is left by all without a page goes away.
  void leave(Node* node) noexcept;

  bool evict_one() noexcept;  // the longest unused page; false: there is none

  int64_t n_used() const { return n_used_; }  // pages with users
  int64_t n_unused() const { return std::ssize(unused_); }
  int64_t n_evicted() const { return n_evicted_; }

 private:
  using Nodes = std::unordered_multimap<uint64_t, std::unique_ptr<Node>>;
  static uint64_t key_of(const Node* parent, PageTokens tokens);
  void erase(Node* node) noexcept;

  int64_t n_keep_;
  Nodes nodes_;
  std::list<Node*> unused_;  // longest unused first; below a node comes before it
  int64_t n_used_ = 0, n_evicted_ = 0;
};

}  // namespace nanochat
