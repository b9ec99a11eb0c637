// Two monotone queues of voxels: no key pushed is lower than the last one popped. Both give equal keys in an order that
// depends on the pushes alone.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace igneous {

// Keys that are never more than `longest` above the last one popped: a ring of lists (Dial 1969, CACM 12:632).
template <class Item>
class Dial {
 public:
  explicit Dial(uint32_t longest) {
    while (mask_ < longest) mask_ = 2 * mask_ + 1;
    ring_.resize(mask_ + 1);
  }

  void reset() { now_ = 0; }

  // A key below the last one popped counts as that one.
  void push(uint32_t key, const Item& item) {
    ring_[(key < now_ ? now_ : key) & mask_].push_back(item);
    ++count_;
  }

  // The next item, or false when all are gone.
  bool pop(Item& item) {
    if (!count_) return false;
    while (ring_[now_ & mask_].empty()) ++now_;
    item = ring_[now_ & mask_].back();
    ring_[now_ & mask_].pop_back();
    --count_;
    return true;
  }

  // The key of what was popped last.
  uint32_t now() const { return now_; }

 private:
  std::vector<std::vector<Item>> ring_;
  uint32_t mask_ = 1;
  uint32_t now_ = 0;
  size_t count_ = 0;
};

// Keys of any range: lists by the highest bit in which a key differs from the last one popped (Ahuja, Mehlhorn, Orlin &
// Tarjan 1990, JACM 37:213).
class RadixHeap {
 public:
  void clear() {
    for (auto& list : lists_) list.clear();
    filled_ = last_ = 0;
  }

  void push(uint64_t key, uint32_t item) { place({key, item}); }

  bool empty() const { return !filled_ && lists_[0].empty(); }

  // The item of the lowest key; there is one.
  uint32_t pop(uint64_t& key) {
    if (lists_[0].empty()) spread();
    const Entry entry = lists_[0].back();
    lists_[0].pop_back();
    key = entry.key;
    return entry.item;
  }

 private:
  struct Entry {
    uint64_t key;
    uint32_t item;
  };

  void place(const Entry& entry) {
    const uint64_t differing = entry.key ^ last_;
    if (!differing) return lists_[0].push_back(entry);
    const int bit = 63 - __builtin_clzll(differing);
    filled_ |= uint64_t{1} << bit;
    lists_[bit + 1].push_back(entry);
  }

  // The lowest list that holds anything is dealt out to those below it.
  void spread() {
    const int bit = __builtin_ctzll(filled_);
    filled_ &= filled_ - 1;
    moved_.swap(lists_[bit + 1]);
    last_ = moved_[0].key;
    for (const Entry& entry : moved_) last_ = entry.key < last_ ? entry.key : last_;
    for (const Entry& entry : moved_) place(entry);
    moved_.clear();
  }

  std::array<std::vector<Entry>, 65> lists_;
  std::vector<Entry> moved_;
  uint64_t filled_ = 0;
  uint64_t last_ = 0;
};

}  // namespace igneous
