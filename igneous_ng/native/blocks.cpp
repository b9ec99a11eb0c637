// How alike blocks of a picture are to another one at each shift of a search, and where they are most alike.
//
// Patches lie on a lattice and share most of their pixels, so products of pixels are summed over small blocks once, and
// each patch is a weighted sum of its blocks: normalised correlation of what is tissue in both (Padfield, "Masked Object
// Registration in the Fourier Domain", IEEE Transactions on Image Processing 21, 2012), summed as it stands. All sums
// go in an order of their own, so that what a patch comes to depends on the pixels that it sees, to the last bit.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Marks = py::array_t<bool, py::array::c_style | py::array::forcecast>;
typedef float Four __attribute__((vector_size(16)));

constexpr int kMost = 11;        // fours of shifts that are summed at once: so many registers there are
constexpr int kSums = 6;         // products, b, b b, pixels, a, a a
constexpr float kLeast = 1e-8f;  // of a product of variances, as a part of that of sums of squares

struct Plane {
  int height = 0, width = 0;
  std::vector<float> values;

  Plane(int rows, int columns) : height(rows), width(columns), values(static_cast<size_t>(rows) * columns) {}
  float* row(int y) { return values.data() + static_cast<size_t>(y) * width; }
  const float* row(int y) const { return values.data() + static_cast<size_t>(y) * width; }
};

// A picture, its squares and its mask, with room at the right for shifts in fours.
struct Masked {
  Plane value, square, mask;

  Masked(const Floats& picture, const Marks& marks, int room)
      : value(picture.shape(0), picture.shape(1) + room), square(value), mask(value) {
    for (int y = 0; y < value.height; ++y) {
      for (int x = 0; x < picture.shape(1); ++x) {
        const bool counts = *marks.data(y, x);
        const float own = counts ? *picture.data(y, x) : 0.0f;
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
constexpr std::array<Products, kMost + 1> kProducts = {
    nullptr,     products<1>, products<2>, products<3>, products<4>,  products<5>,
    products<6>, products<7>, products<8>, products<9>, products<10>, products<11>};

struct Search {
  int side, blocks, reach, fours;  // pixels of a block, blocks of a patch, both along one axis
  float least;                     // share of a patch that must be tissue in both
  const float* weights;            // of the blocks of a patch, along one axis

  int lanes() const { return 4 * fours; }
  int shifts() const { return 2 * reach + 1; }
};

void correlate(const Search& how, const Plane& a, const Plane& b, int x, int y, int dy, float* out) {
  for (int done = 0; done < how.fours;) {
    const int now = std::min(kMost, how.fours - done);
    kProducts[now](a.row(y) + x, a.width, b.row(y + dy) + x + 4 * done, b.width, how.side, out + 4 * done);
    done += now;
  }
}

// Sums over squares of `side` pixels, in a fixed order, at each first pixel.
Plane boxed(const Plane& of, int side) {
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

bool full(const Plane& mask, int x0, int y0, int width, int height) {
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
        high_(wanted.shape(0)), wide_(wanted.shape(1)), blocks_(sorted(wanted)), own_(owned()),
        rows_(static_cast<size_t>(how.blocks) * wide_ * kSums * how.lanes()),
        line_(static_cast<size_t>(blocks_.wide) * kSums * how.lanes()) {}

  // Correlations at shift `dy`, counted from the first: out[n] is the surface of the n-th wanted node.
  void run(int dy, const Marks& wanted, float* out) {
    py::ssize_t n = 0;
    for (int by = 0; by < blocks_.high; ++by) {
      block_row(by, dy);
      along(by);
      const int ny = by - how_.blocks + 1;
      if (ny < 0 || ny % 2) continue;
      for (int nx = 0; nx < wide_; ++nx)
        if (*wanted.data(ny / 2, nx)) node(ny, nx, out + (n++ * how_.shifts() + dy) * how_.shifts());
    }
  }

 private:
  Blocks sorted(const Marks& wanted) const {
    Blocks found{2 * (high_ - 1) + how_.blocks, 2 * (wide_ - 1) + how_.blocks, {}};
    found.kinds.resize(static_cast<size_t>(found.high) * found.wide, kUnasked);
    for (int ny = 0; ny < high_; ++ny)
      for (int nx = 0; nx < wide_; ++nx)
        for (int k = 0; *wanted.data(ny, nx) && k < how_.blocks; ++k)
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

py::array_t<float> correlated(const Floats& a, const Marks& in_a, const Floats& b, const Marks& in_b,
                              const Marks& wanted, const Floats& weights, std::tuple<int, int, float> manner) {
  const auto [side, reach, least] = manner;
  const int blocks = static_cast<int>(weights.size()), fours = (2 * reach + 4) / 4;
  if (side < 1 || reach < 0 || wanted.ndim() != 2 || a.ndim() != 2 || b.ndim() != 2 || blocks < 1)
    throw std::invalid_argument("expected pictures [y, x] with masks, nodes [y, x], weights [n] and (side, reach, least)");
  for (int k = 0; k < 2; ++k) {
    const py::ssize_t size = side * (2 * (wanted.shape(k) - 1) + blocks);
    if (wanted.shape(k) < 1 || a.shape(k) != size || b.shape(k) != size + 2 * reach || in_a.shape(k) != a.shape(k) ||
        in_b.shape(k) != b.shape(k))
      throw std::invalid_argument("pictures are not of the size that nodes, blocks and the search ask for");
  }
  const Search how{side, blocks, reach, fours, least, weights.data()};
  const py::ssize_t count = std::count(wanted.data(), wanted.data() + wanted.size(), true);
  py::array_t<float> surfaces({count, py::ssize_t(how.shifts()), py::ssize_t(how.shifts())});
  float* out = surfaces.mutable_data();
  const Masked first(a, in_a, 0), second(b, in_b, 4);
  {
    py::gil_scoped_release release;
    Sums sums(how, first, second, wanted);
    for (int dy = 0; dy < how.shifts(); ++dy) sums.run(dy, wanted, out);
  }
  return surfaces;
}

// ---- peaks

constexpr int kNear = 3;                           // coefficients are wanted so far from the highest sample
constexpr int kTail = 6;                           // samples on each side that a coefficient rests on
constexpr int kWidth = 2 * (kNear + kTail) + 1;    // samples of the doubled surface that are looked at
constexpr int kLobes = 6;                          // samples on each side that one between two rests on
constexpr double kPole = -0.26794919243112270647;  // of the cubic spline's inverse: sqrt(3) - 2
constexpr int kSteps = 6;
constexpr double kFarthest = 0.75;  // samples from the highest one

struct Surface {
  const float* values;
  int side;

  double at(int x, int y) const {  // mirrored at the ends, 0 where nothing is known
    const int last = side - 1;
    x = std::abs(last - std::abs(last - x));
    y = std::abs(last - std::abs(last - y));
    const float value = values[y * side + x];
    return std::isnan(value) ? 0.0 : value;
  }
  bool known(int x, int y) const {
    return x >= 0 && y >= 0 && x < side && y < side && !std::isnan(values[y * side + x]);
  }
};

using Weights = std::array<double, 4>;

// Of a cubic B-spline at a part t of a sample, and of its slope and curvature there.
std::array<Weights, 3> splines(double t) {
  const double s = 1 - t;
  return {Weights{s * s * s / 6, (4 + t * t * (3 * t - 6)) / 6, (4 + s * s * (3 * s - 6)) / 6, t * t * t / 6},
          Weights{-s * s / 2, t * (1.5 * t - 2), -s * (1.5 * s - 2), t * t / 2}, Weights{s, 3 * t - 2, 3 * s - 2, t}};
}

// Lanczos' weights halfway between samples, of those that are 1/2, 3/2, ... away; they and their mirror sum to 1.
std::array<double, kLobes> halfway() {
  std::array<double, kLobes> found;
  double sum = 0;
  for (int k = 0; k < kLobes; ++k) {
    const double x = M_PI * (k + 0.5);
    sum += 2 * (found[k] = std::sin(x) / x * std::sin(x / kLobes) / (x / kLobes));
  }
  for (double& one : found) one /= sum;
  return found;
}

// The surface around a sample: doubled, for what a search samples is too coarse for a spline and bends its top towards
// samples, then a cubic spline (Unser, Aldroubi and Eden 1993, "B-spline signal processing").
class Spline {
 public:
  Spline(const Surface& of, int x, int y) {
    constexpr int reach = kNear + kTail, rows = reach / 2 + 1 + kLobes;
    static const std::array<double, kLobes> weights = halfway();
    double across[2 * rows + 1][kWidth], doubled[kWidth][kWidth], half[kWidth][kWide];
    for (int j = -rows; j <= rows; ++j)
      for (int i = -reach; i <= reach; ++i)
        across[j + rows][i + reach] = between(weights, i, [&](int k) { return of.at(x + k, y + j); });
    for (int j = -reach; j <= reach; ++j)
      for (int i = 0; i < kWidth; ++i)
        doubled[j + reach][i] = between(weights, j, [&](int k) { return across[k + rows][i]; });
    for (int j = 0; j < kWidth; ++j)
      for (int i = 0; i < kWide; ++i) half[j][i] = filtered([&](int k) { return doubled[j][i + kTail + k]; });
    for (int j = 0; j < kWide; ++j)
      for (int i = 0; i < kWide; ++i) c_[j][i] = filtered([&](int k) { return half[j + kTail + k][i]; });
  }

  // A derivative, of orders p and q along x and y, at a place counted from the sample.
  double at(double x, double y, int p, int q) const {
    x *= 2, y *= 2;
    const int i = static_cast<int>(std::floor(x)), j = static_cast<int>(std::floor(y));
    const Weights across = splines(x - i)[p], down = splines(y - j)[q];
    double sum = 0;
    for (int n = 0; n < 4; ++n)
      for (int m = 0; m < 4; ++m) sum += down[n] * across[m] * c_[j + n - 1 + kNear][i + m - 1 + kNear];
    return std::ldexp(sum, p + q);
  }

 private:
  static constexpr int kWide = 2 * kNear + 1;

  // The value at half of place `i`.
  template <class At>
  static double between(const std::array<double, kLobes>& weights, int i, At at) {
    if (i % 2 == 0) return at(i / 2);
    const int low = (i - 1) / 2;  // exact: i is odd
    double sum = 0;
    for (int k = 0; k < kLobes; ++k) sum += weights[k] * (at(low - k) + at(low + 1 + k));
    return sum;
  }

  template <class At>
  static double filtered(At at) {
    double sum = at(0), power = 1;
    for (int k = 1; k <= kTail; ++k) sum += (power *= kPole) * (at(-k) + at(k));
    return sum * std::sqrt(3.0);
  }

  double c_[kWide][kWide];
};

struct Peak {
  double x, y, value, next, spread, xx, xy, yy;
  bool inner;
};

// From the highest sample to the top: Newton's steps, while they lead to a top.
void climb(const Spline& spline, Peak& peak) {
  double x = 0, y = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double gx = spline.at(x, y, 1, 0), gy = spline.at(x, y, 0, 1), xx = spline.at(x, y, 2, 0),
                 xy = spline.at(x, y, 1, 1), yy = spline.at(x, y, 0, 2), det = xx * yy - xy * xy;
    if (det <= 0 || xx >= 0) break;
    x = std::clamp(x - (yy * gx - xy * gy) / det, -kFarthest, kFarthest);
    y = std::clamp(y - (xx * gy - xy * gx) / det, -kFarthest, kFarthest);
  }
  peak.x += x;
  peak.y += y;
  peak.value = spline.at(x, y, 0, 0);
  peak.xx = spline.at(x, y, 2, 0);
  peak.xy = spline.at(x, y, 1, 1);
  peak.yy = spline.at(x, y, 0, 2);
}

Peak highest(const Surface& surface, int apart) {
  const int side = surface.side, size = side * side;
  int best = -1;
  for (int i = 0; i < size; ++i)
    if (!std::isnan(surface.values[i]) && (best < 0 || surface.values[i] > surface.values[best])) best = i;
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  if (best < 0) return Peak{nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, false};
  const int x = best % side, y = best / side;
  Peak peak{double(x - side / 2), double(y - side / 2), 0, 0, 0, 0, 0, 0, true};
  double squares = 0;
  int count = 0;
  for (int j = 0; j < side; ++j) {
    for (int i = 0; i < side; ++i) {
      const float value = surface.values[j * side + i];
      if (std::isnan(value) || (std::abs(i - x) <= apart && std::abs(j - y) <= apart)) continue;
      peak.next = std::max<double>(peak.next, value);
      squares += static_cast<double>(value) * value;
      ++count;
    }
  }
  peak.spread = count ? std::sqrt(squares / count) : 0;
  for (int j = -1; j <= 1; ++j)
    for (int i = -1; i <= 1; ++i) peak.inner = peak.inner && surface.known(x + i, y + j);
  climb(Spline(surface, x, y), peak);
  return peak;
}

py::array_t<double> peaks(const Floats& surfaces, int apart) {
  if (surfaces.ndim() != 3 || surfaces.shape(1) != surfaces.shape(2) || surfaces.shape(1) % 2 == 0)
    throw std::invalid_argument("expected surfaces [n, 2 reach + 1, 2 reach + 1]");
  const int side = static_cast<int>(surfaces.shape(1));
  const py::ssize_t count = surfaces.shape(0);
  py::array_t<double> found({count, py::ssize_t(10)});
  double* out = found.mutable_data();
  const float* in = surfaces.data();
  {
    py::gil_scoped_release release;
    for (py::ssize_t n = 0; n < count; ++n, out += 10, in += side * side) {
      const Peak peak = highest(Surface{in, side}, apart);
      const auto known = std::count_if(in, in + side * side, [](float value) { return !std::isnan(value); });
      const std::array<double, 10> row = {peak.x,  peak.y,  peak.value, peak.next, peak.spread,
                                          peak.xx, peak.xy, peak.yy,    peak.inner ? 1.0 : 0.0,
                                          static_cast<double>(known) / (side * side)};
      std::copy(row.begin(), row.end(), out);
    }
  }
  return found;
}

// ---- filters

// Weighted sums along rows, then along columns, of every `step`-th place; beyond the picture there is 0. The first sum
// begins `before` pixels before the picture.
py::array_t<float> smoothed(const Floats& picture, const Floats& taps, int before, int step) {
  if (picture.ndim() != 2 || taps.ndim() != 1 || before < 0 || step < 1)
    throw std::invalid_argument("expected a picture [y, x], taps, and how sums go");
  const int height = static_cast<int>(picture.shape(0)), width = static_cast<int>(picture.shape(1));
  const int high = height / step, wide = width / step, count = static_cast<int>(taps.size());
  py::array_t<float> found({py::ssize_t(high), py::ssize_t(wide)});
  float* out = found.mutable_data();
  const float *in = picture.data(), *weight = taps.data();
  {
    py::gil_scoped_release release;
    Plane across(height, wide), parts(step, width / step + 1);
    for (int y = 0; y < height; ++y) {
      const float* from = in + static_cast<size_t>(y) * width;
      for (int x = 0; x < wide * step; ++x) parts.row(x % step)[x / step] = from[x];
      for (int k = 0; k < count; ++k) {
        const int part = ((k - before) % step + step) % step, off = (k - before - part) / step;
        const float* source = parts.row(part) + off;
        float* row = across.row(y);
        for (int x = std::max(0, -off); x < std::min(wide, wide - off); ++x) row[x] += weight[k] * source[x];
      }
    }
    for (int y = 0; y < high; ++y) {
      float* row = out + static_cast<size_t>(y) * wide;
      std::fill_n(row, wide, 0.0f);
      for (int k = 0; k < count; ++k) {
        const int from = y * step + k - before;
        if (from < 0 || from >= height) continue;
        for (int x = 0; x < wide; ++x) row[x] += weight[k] * across.row(from)[x];
      }
    }
  }
  return found;
}

}  // namespace

PYBIND11_MODULE(blocks, module) {
  module.doc() = "How alike patches of two pictures are at each shift of a search, by blocks that patches share.";
  module.def("correlated", &correlated, py::arg("a"), py::arg("in_a"), py::arg("b"), py::arg("in_b"), py::arg("wanted"),
             py::arg("weights"), py::arg("manner"));
  module.def("peaks", &peaks, py::arg("surfaces"), py::arg("apart"));
  module.def("smoothed", &smoothed, py::arg("picture"), py::arg("taps"), py::arg("before"),
             py::arg("step"));
}
