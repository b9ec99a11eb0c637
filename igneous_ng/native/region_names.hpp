// Regions of a block as indices.

#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <unordered_map>
#include <vector>

namespace regions {

// Indices of regions: those of the block, which are counted, and then those before it, as they are met.
class Names {
 public:
  Names(uint64_t first, uint64_t count) : first_(first), count_(count) {}

  bool own(uint64_t id) const { return id - first_ < count_; }

  // The index of a region that is in the block; without a branch, so that of another it means nothing.
  uint32_t of_own(uint64_t id) const { return static_cast<uint32_t>(id - first_); }

  uint32_t of(uint64_t id) {
    if (own(id)) return of_own(id);
    const auto [found, made] = places_.try_emplace(id, static_cast<uint32_t>(count_ + others_.size()));
    if (made) others_.push_back(id);
    return found->second;
  }

  uint64_t id(size_t index) const { return index < count_ ? first_ + index : others_[index - count_]; }
  size_t count() const { return count_ + others_.size(); }

  // Where each index comes in the order of ids.
  std::vector<uint32_t> ranks() const {
    std::vector<uint64_t> sorted = others_;
    std::sort(sorted.begin(), sorted.end());
    const auto place = [&](uint64_t id) { return static_cast<uint32_t>(std::lower_bound(sorted.begin(), sorted.end(), id) - sorted.begin()); };
    const uint32_t lower = place(first_);
    std::vector<uint32_t> found(count());
    std::iota(found.begin(), found.begin() + count_, lower);
    for (size_t i = 0; i < others_.size(); ++i) found[count_ + i] = place(others_[i]) + (others_[i] < first_ ? 0 : static_cast<uint32_t>(count_));
    return found;
  }

 private:
  uint64_t first_, count_;
  std::unordered_map<uint64_t, uint32_t> places_;
  std::vector<uint64_t> others_;
};

}  // namespace regions
