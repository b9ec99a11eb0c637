// Correlations of patches of two pictures at each shift of a search.
//
// Patches lie on a lattice and share most of their pixels, so products of pixels are summed over small blocks once, and
// each patch is a weighted sum of its blocks: normalised correlation of what is tissue in both (Padfield, "Masked Object
// Registration in the Fourier Domain", IEEE Transactions on Image Processing 21, 2012), summed as it stands. All sums
// go in an order of their own, so that what a patch comes to depends on the pixels that it sees, to the last bit.

#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "plane.hpp"

namespace correlation {

using igneous::Plane;
using igneous::View;
using Marks = View<bool>;
typedef float Four __attribute__((vector_size(16)));

constexpr int kMost = 11;        // fours of shifts that are summed at once: so many registers there are
constexpr int kSums = 6;         // products, b, b b, pixels, a, a a
constexpr float kLeast = 1e-8f;  // of a product of variances, as a part of that of sums of squares

// A picture, its squares and its mask, with room at the right for shifts in fours.
struct Masked {
  Plane value, square, mask;

  Masked(const View<float>& picture, const Marks& marks, int room)
      : value(picture.height, picture.width + room), square(value), mask(value) {
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        const bool counts = marks.at(y, x);
        const float own = counts ? picture.at(y, x) : 0.0f;
        value.row(y)[x] = own;
        square.row(y)[x] = own * own;
        mask.row(y)[x] = counts ? 1.0f : 0.0f;
      }
    }
  }
};

// out[k] = sum over a block of a[y][x] b[y][x + k], for N fours of k.
template <int N>
void products(const float* a, int wa, const float* b, int wb, int side, float* out) {
  Four sum[N] = {};
  for (int y = 0; y < side; ++y, a += wa, b += wb) {
    for (int x = 0; x < side; ++x) {
      const Four own = {a[x], a[x], a[x], a[x]};
      for (int n = 0; n < N; ++n) {
        Four other;
        __builtin_memcpy(&other, b + x + 4 * n, sizeof other);
        sum[n] += own * other;
      }
    }
  }
  __builtin_memcpy(out, sum, sizeof sum);
}

using Products = void (*)(const float*, int, const float*, int, int, float*);
inline constexpr std::array<Products, kMost + 1> kProducts = {
    nullptr,     products<1>, products<2>, products<3>, products<4>,  products<5>,
    products<6>, products<7>, products<8>, products<9>, products<10>, products<11>};

struct Search {
  int side, blocks, reach, fours;  // pixels of a block, blocks of a patch, both along one axis
  float least;                     // share of a patch that must be tissue in both
  const float* weights;            // of the blocks of a patch, along one axis

  int lanes() const { return 4 * fours; }
  int shifts() const { return 2 * reach + 1; }
};

inline void correlate(const Search& how, const Plane& a, const Plane& b, int x, int y, int dy, float* out) {
  for (int done = 0; done < how.fours;) {
    const int now = std::min(kMost, how.fours - done);
    kProducts[now](a.row(y) + x, a.width, b.row(y + dy) + x + 4 * done, b.width, how.side, out + 4 * done);
    done += now;
  }
}

// Sums over squares of `side` pixels, in a fixed order, at each first pixel.
inline Plane boxed(const Plane& of, int side) {
  Plane across(of.height, of.width), found(of.height, of.width);
  for (int y = 0; y < of.height; ++y) {
    for (int k = 0; k < side; ++k)
      for (int x = 0; x + side <= of.width; ++x) across.row(y)[x] += of.row(y)[x + k];
  }
  for (int y = 0; y + side <= of.height; ++y) {
    for (int k = 0; k < side; ++k)
      for (int x = 0; x < of.width; ++x) found.row(y)[x] += across.row(y + k)[x];
  }
  return found;
}

enum Kind : uint8_t { kUnasked, kPlain, kPartly };

// The blocks of a chunk: which are asked for, and which see nothing but tissue whatever the shift.
struct Blocks {
  int high, wide;
  std::vector<uint8_t> kinds;

  uint8_t& at(int y, int x) { return kinds[static_cast<size_t>(y) * wide + x]; }
  const uint8_t& at(int y, int x) const { return kinds[static_cast<size_t>(y) * wide + x]; }
};

inline bool full(const Plane& mask, int x0, int y0, int width, int height) {
  for (int y = y0; y < y0 + height; ++y) {
    const float* row = mask.row(y);
    for (int x = x0; x < x0 + width; ++x)
      if (row[x] == 0.0f) return false;
  }
  return true;
}

// What becomes of the patches of one shift along y: sums by blocks, then along x, then along y.
class Sums {
 public:
  Sums(const Search& how, const Masked& a, const Masked& b, const Marks& wanted)
      : how_(how), a_(a), b_(b), box_(boxed(b.value, how.side)), boxes_(boxed(b.square, how.side)),
        high_(wanted.height), wide_(wanted.width), blocks_(sorted(wanted)), own_(owned()),
        rows_(static_cast<size_t>(how.blocks) * wide_ * kSums * how.lanes()),
        line_(static_cast<size_t>(blocks_.wide) * kSums * how.lanes()) {}

  // Correlations at shift `dy`, counted from the first: out[n] is the surface of the n-th wanted node.
  void run(int dy, const Marks& wanted, float* out) {
    std::ptrdiff_t n = 0;
    for (int by = 0; by < blocks_.high; ++by) {
      block_row(by, dy);
      along(by);
      const int ny = by - how_.blocks + 1;
      if (ny < 0 || ny % 2) continue;
      for (int nx = 0; nx < wide_; ++nx)
        if (wanted.at(ny / 2, nx)) node(ny, nx, out + (n++ * how_.shifts() + dy) * how_.shifts());
    }
  }

 private:
  Blocks sorted(const Marks& wanted) const {
    Blocks found{2 * (high_ - 1) + how_.blocks, 2 * (wide_ - 1) + how_.blocks, {}};
    found.kinds.resize(static_cast<size_t>(found.high) * found.wide, kUnasked);
    for (int ny = 0; ny < high_; ++ny)
      for (int nx = 0; nx < wide_; ++nx)
        for (int k = 0; wanted.at(ny, nx) && k < how_.blocks; ++k)
          std::fill_n(&found.at(2 * ny + k, 2 * nx), how_.blocks, kPlain);
    const int side = how_.side, seen = side + 2 * how_.reach;
    for (int y = 0; y < found.high; ++y)
      for (int x = 0; x < found.wide; ++x)
        if (found.at(y, x) == kPlain && !(full(a_.mask, x * side, y * side, side, side) &&
                                          full(b_.mask, x * side, y * side, seen, seen)))
          found.at(y, x) = kPartly;
    return found;
  }

  // Of each block the sums of a and of its squares.
  std::vector<std::pair<float, float>> owned() const {
    const Plane sum = boxed(a_.value, how_.side), squares = boxed(a_.square, how_.side);
    std::vector<std::pair<float, float>> found;
    for (int y = 0; y < blocks_.high; ++y)
      for (int x = 0; x < blocks_.wide; ++x)
        found.emplace_back(sum.row(y * how_.side)[x * how_.side], squares.row(y * how_.side)[x * how_.side]);
    return found;
  }

  float* sums(std::vector<float>& of, size_t place) { return of.data() + place * kSums * how_.lanes(); }

  void block_row(int by, int dy) {
    const int lanes = how_.lanes(), y = by * how_.side;
    for (int bx = 0; bx < blocks_.wide; ++bx) {
      const int x = bx * how_.side;
      float* out = sums(line_, bx);
      if (blocks_.at(by, bx) == kUnasked) continue;
      correlate(how_, a_.value, b_.value, x, y, dy, out);
      if (blocks_.at(by, bx) == kPlain) {
        std::copy_n(box_.row(y + dy) + x, lanes, out + lanes);
        std::copy_n(boxes_.row(y + dy) + x, lanes, out + 2 * lanes);
        const auto own = own_[static_cast<size_t>(by) * blocks_.wide + bx];
        std::fill_n(out + 3 * lanes, lanes, static_cast<float>(how_.side * how_.side));
        std::fill_n(out + 4 * lanes, lanes, own.first);
        std::fill_n(out + 5 * lanes, lanes, own.second);
        continue;
      }
      correlate(how_, a_.mask, b_.value, x, y, dy, out + lanes);
      correlate(how_, a_.mask, b_.square, x, y, dy, out + 2 * lanes);
      correlate(how_, a_.mask, b_.mask, x, y, dy, out + 3 * lanes);
      correlate(how_, a_.value, b_.mask, x, y, dy, out + 4 * lanes);
      correlate(how_, a_.square, b_.mask, x, y, dy, out + 5 * lanes);
    }
  }

  void along(int by) {
    const int size = kSums * how_.lanes();
    for (int nx = 0; nx < wide_; ++nx) {
      if (!std::all_of(&blocks_.at(by, 2 * nx), &blocks_.at(by, 2 * nx) + how_.blocks, [](uint8_t k) { return k; }))
        continue;
      float* out = sums(rows_, static_cast<size_t>(by % how_.blocks) * wide_ + nx);
      std::fill_n(out, size, 0.0f);
      for (int k = 0; k < how_.blocks; ++k) {
        const float* in = sums(line_, 2 * nx + k);
        for (int i = 0; i < size; ++i) out[i] += how_.weights[k] * in[i];
      }
    }
  }

  void node(int by, int nx, float* out) {
    const int lanes = how_.lanes();
    std::vector<float>& total = total_;
    total.assign(static_cast<size_t>(kSums) * lanes, 0.0f);
    float whole = 0;
    for (int k = 0; k < how_.blocks; ++k) {
      const float* in = sums(rows_, static_cast<size_t>((by + k) % how_.blocks) * wide_ + nx);
      for (int i = 0; i < kSums * lanes; ++i) total[i] += how_.weights[k] * in[i];
      whole += how_.weights[k];
    }
    const float *ab = total.data(), *b = ab + lanes, *bb = b + lanes, *count = bb + lanes, *a = count + lanes,
                *aa = a + lanes;
    const float least = how_.least * whole * whole * static_cast<float>(how_.side * how_.side);
    for (int i = 0; i < how_.shifts(); ++i) {
      const float n = std::max(count[i], 1e-20f);
      const float va = aa[i] - a[i] * a[i] / n, vb = bb[i] - b[i] * b[i] / n;
      const bool says = va > 0 && vb > 0 && va * vb > kLeast * aa[i] * bb[i];
      const float value = says ? (ab[i] - a[i] * b[i] / n) / std::sqrt(va * vb) : 0.0f;
      out[i] = count[i] < least ? std::numeric_limits<float>::quiet_NaN() : value;
    }
  }

  const Search how_;
  const Masked &a_, &b_;
  const Plane box_, boxes_;
  const int high_, wide_;
  const Blocks blocks_;
  const std::vector<std::pair<float, float>> own_;
  std::vector<float> rows_, line_, total_;
};

}  // namespace correlation
