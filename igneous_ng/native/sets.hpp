// Disjoint sets of elements that are counted from 0, by union with path halving (Galler & Fischer 1964; Tarjan 1975).

#pragma once

#include <cstddef>
#include <numeric>
#include <vector>

namespace disjoint {

// A set is called by its lowest element.
template <class Index>
class Sets {
 public:
  explicit Sets(size_t count = 0) { grow(count); }

  // Let there be so many elements, the new ones each alone.
  void grow(size_t count) {
    const size_t before = parents_.size();
    parents_.resize(count);
    std::iota(parents_.begin() + before, parents_.end(), static_cast<Index>(before));
  }

  Index find(Index one) {
    while (parents_[one] != one) one = parents_[one] = parents_[parents_[one]];
    return one;
  }

  // Makes one set of two; whether they were two.
  bool unite(Index one, Index other) {
    one = find(one);
    other = find(other);
    if (one < other)
      parents_[other] = one;
    else
      parents_[one] = other;
    return one != other;
  }

  // Give the number of an element's set, next if it is the first of it; to be asked of all from the first on, and last.
  Index enumerate(Index one, Index next) {
    const Index parent = parents_[one];  // it comes before, and holds its number by now
    return parents_[one] = parent == one ? next : parents_[parent];
  }

  // The number that an element's set was given.
  Index number(Index one) const { return parents_[one]; }

 private:
  std::vector<Index> parents_;
};

}  // namespace disjoint
