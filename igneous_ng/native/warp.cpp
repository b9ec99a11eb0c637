// Pictures of tiles as they lie in a section: one interpolation, from where each pixel of the section lies in the tile.
//
// Where that is, is given at the points of a lattice, and bilinear between them. Values between pixels are those of Keys'
// cubic convolution (Keys 1981, "Cubic convolution interpolation for digital image processing", a = -1/2), with the
// pixels at the border repeated beyond it. What a pixel becomes depends on the points of its own cell only, so that it is
// the same, to the last bit, whatever else is asked for with it.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "rounding.hpp"

namespace py = pybind11;

namespace {

constexpr int kStep = 16;               // pixels between points of the lattice
constexpr double kLeast = 1.0 / 1024;   // depth of a pixel on the very border
constexpr int kBias = 8;                // makes what is rounded towards zero positive
using Fields = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Floats = py::array_t<float, py::array::c_style>;

typedef float Four __attribute__((vector_size(16)));
constexpr int kFours = kStep / 4;

template <class T>
inline Four four(const T* at) {
  return Four{static_cast<float>(at[0]), static_cast<float>(at[1]), static_cast<float>(at[2]), static_cast<float>(at[3])};
}

inline Four four(const float* at) {
  Four found;
  std::memcpy(&found, at, sizeof found);
  return found;
}

// The four numbers from the `n`-th of eight on.
inline Four from(int n, Four a, Four b) {
  return n == 0 ? a : n == 1 ? Four{a[1], a[2], a[3], b[0]} : n == 2 ? Four{a[2], a[3], b[0], b[1]} : Four{a[3], b[0], b[1], b[2]};
}

// Weights of the four pixels around each of some places that lie a part of a pixel after the second.
struct Weights {
  Four of[4][kFours];

  void set(const float* part) {
    for (int n = 0; n < kFours; ++n) {
      const Four t = four(part + 4 * n);
      of[0][n] = ((-0.5f * t + 1.0f) * t - 0.5f) * t;
      of[1][n] = (1.5f * t - 2.5f) * t * t + 1.0f;
      of[2][n] = ((-1.5f * t + 2.0f) * t + 0.5f) * t;
      of[3][n] = (0.5f * t - 0.5f) * t * t;
    }
  }
};

// Where the pixels of a row that lie in one cell of the lattice are in the tile.
struct Places {
  int x[kStep], y[kStep];  // the pixel before each
  float depth[kStep];
  Weights across, down;
  bool inside;    // whether all four pixels around each, along both axes, are there, and one more
  bool straight;  // whether these are pixels of a row of the tile, one after the other
};

// What is seen in a row of a window.
class Rows {
 public:
  virtual ~Rows() = default;

  // The row `y` of the output, counted from the first points of the lattice: planes of values, and depths.
  virtual void row(int y, int width, float* values, size_t plane, float* depth) = 0;
};

template <class T>
class Warper : public Rows {
 public:
  Warper(const T* planes, int channels, int width, int height, const double* fields, int points, int offset)
      : planes_(planes), channels_(channels), width_(width), height_(height), fields_(fields), points_(points), kinds_(2 + 2 * channels),
        offset_(offset), row_(static_cast<size_t>(points) * kinds_) {}

  void row(int y, int width, float* values, size_t plane, float* depth) override {
    blend(y);
    for (int x = offset_; x < offset_ + width;) {
      const int cell = x / kStep, from = x % kStep, count = std::min(kStep - from, offset_ + width - x);
      const double* left = row_.data() + static_cast<size_t>(cell) * kinds_;
      const size_t to = x - offset_;
      if (find(left)) {
        for (int c = 0; c < channels_; ++c) {
          float found[kStep];
          fill(c, left, found);
          std::copy_n(found + from, count, values + c * plane + to);
        }
        std::copy_n(places_.depth + from, count, depth + to);
      } else {
        for (int c = 0; c < channels_; ++c) std::fill_n(values + c * plane + to, count, 0.0f);
        std::fill_n(depth + to, count, 0.0f);
      }
      x += count;
    }
  }

 private:
  // The fields at the row, at each column of the lattice.
  void blend(int y) {
    const double share = (y % kStep) / static_cast<double>(kStep);
    const size_t line = row_.size();
    const double *above = fields_ + (y / kStep) * line, *below = above + line;
    for (size_t i = 0; i < line; ++i) row_[i] = above[i] + (below[i] - above[i]) * share;
  }

  double between(const double* left, int kind, int at) const {
    return left[kind] + (left[kind + kinds_] - left[kind]) * (at / static_cast<double>(kStep));
  }

  bool find(const double* left) {
    const double x0 = between(left, 0, 0), x1 = between(left, 0, kStep - 1), y0 = between(left, 1, 0), y1 = between(left, 1, kStep - 1);
    const auto [xl, xh] = std::minmax(x0, x1);
    const auto [yl, yh] = std::minmax(y0, y1);
    if (!(xh >= -0.5 && xl < width_ - 0.5 && yh >= -0.5 && yl < height_ - 0.5)) return false;  // nor where it is no number
    places_.inside = xl >= 1 && xh < width_ - 3 && yl >= 1 && yh < height_ - 2;
    double xs[kStep], ys[kStep];
    for (int k = 0; k < kStep; ++k) xs[k] = between(left, 0, k);
    for (int k = 0; k < kStep; ++k) ys[k] = between(left, 1, k);
    const double right = width_ - 0.5, bottom = height_ - 0.5;
    for (int k = 0; k < kStep; ++k) {
      const double x = xs[k], y = ys[k];
      const double near = std::min(x + 0.5, right - x) * std::min(y + 0.5, bottom - y);
      const bool valid = (x >= -0.5) & (x < right) & (y >= -0.5) & (y < bottom);
      places_.depth[k] = valid ? static_cast<float>(std::max(near, kLeast)) : 0.0f;
    }
    split(xs, width_, places_.x, places_.across);
    split(ys, height_, places_.y, places_.down);
    int apart = 0;
    for (int k = 0; k < kStep; ++k) apart |= (places_.x[k] - places_.x[0] - k) | (places_.y[k] - places_.y[0]);
    places_.straight = !apart;
    return true;
  }

  // Places along an axis as the pixel before each, and the weights of the pixels around.
  static void split(const double* at, int size, int* whole, Weights& weights) {
    float part[kStep];
    for (int k = 0; k < kStep; ++k) {
      const double safe = std::min(std::max(at[k], -2.0), size + 1.0);
      whole[k] = static_cast<int>(safe + kBias) - kBias;
      part[k] = static_cast<float>(safe - whole[k]);
    }
    weights.set(part);
  }

  void fill(int channel, const double* left, float* out) const {
    const T* plane = planes_ + static_cast<size_t>(channel) * width_ * height_;
    if (!places_.inside)
      sum(out, [&](int n, int j, int i) {
        return each(n, [&](int k) {
          return plane[static_cast<ptrdiff_t>(std::clamp(places_.y[k] - 1 + j, 0, height_ - 1)) * width_ + std::clamp(places_.x[k] - 1 + i, 0, width_ - 1)];
        });
      });
    else if (places_.straight) {
      Four rows[4][kFours + 1];  // neighbouring places share most of their pixels
      const T* first = plane + static_cast<ptrdiff_t>(places_.y[0] - 1) * width_ + (places_.x[0] - 1);
      for (int j = 0; j < 4; ++j) widen(first + static_cast<ptrdiff_t>(j) * width_, rows[j]);
      sum(out, [&](int n, int j, int i) { return from(i, rows[j][n], rows[j][n + 1]); });
    } else
      sum(out, [&](int n, int j, int i) {
        return each(n, [&](int k) { return plane[static_cast<ptrdiff_t>(places_.y[k] - 1 + j) * width_ + places_.x[k] - 1 + i]; });
      });
    const int kind = 2 + 2 * channel;
    for (int k = 0; k < kStep; ++k) {
      const auto gain = static_cast<float>(between(left, kind, k)), add = static_cast<float>(between(left, kind + 1, k));
      out[k] = places_.depth[k] > 0 ? out[k] * gain + add : 0.0f;
    }
  }

  static void widen(const T* pixels, Four* out) {
    alignas(Four) float wide[kStep + 4];
    for (int i = 0; i < kStep + 4; ++i) wide[i] = static_cast<float>(pixels[i]);
    std::memcpy(out, wide, sizeof wide);
  }

  // The pixels of four places.
  template <class Pixel>
  static Four each(int n, Pixel pixel) {
    const T found[4] = {pixel(4 * n), pixel(4 * n + 1), pixel(4 * n + 2), pixel(4 * n + 3)};
    return four(found);
  }

  // The sum of pixels times weights, in one order whatever the way to the pixels: `around(n, j, i)` are those in row j and
  // column i of the four by four around each of the n-th four places.
  template <class Around>
  void sum(float* out, Around around) const {
    const auto &down = places_.down.of, &across = places_.across.of;
    for (int n = 0; n < kFours; ++n) {
      Four column[4];
      for (int i = 0; i < 4; ++i)
        column[i] = ((around(n, 0, i) * down[0][n] + around(n, 1, i) * down[1][n]) + (around(n, 2, i) * down[2][n] + around(n, 3, i) * down[3][n])) *
                    across[i][n];
      const Four found = (column[0] + column[1]) + (column[2] + column[3]);
      std::memcpy(out + 4 * n, &found, sizeof found);
    }
  }

  const T* planes_;
  int channels_, width_, height_;
  const double* fields_;
  int points_, kinds_, offset_;
  std::vector<double> row_;
  Places places_{};
};

// A tile, and its places at the lattice around a window.
class Given {
 public:
  Given(const py::array& planes, const Fields& fields, std::pair<int, int> offset, std::pair<py::ssize_t, py::ssize_t> shape)
      : fields_(fields), offset_(offset) {
    if (planes.ndim() != 3 || !planes.size()) throw std::invalid_argument("give planes [channel, y, x]");
    if (fields.ndim() != 3 || fields.shape(2) != 2 + 2 * planes.shape(0)) throw std::invalid_argument("give fields [y, x, 2 + 2 channels]");
    const auto [x, y] = offset;
    const auto [width, height] = shape;
    if (x < 0 || y < 0 || width < 1 || height < 1 || (x + width - 1) / kStep + 2 > fields.shape(1) || (y + height - 1) / kStep + 2 > fields.shape(0))
      throw std::invalid_argument("the lattice ends before the pixels do");
    if (!take<uint8_t>(planes) && !take<uint16_t>(planes) && !take<int16_t>(planes) && !take<float>(planes))
      throw std::invalid_argument("give planes of uint8, uint16, int16 or float32");
  }

  Rows& rows() { return *rows_; }

 private:
  template <class T>
  bool take(const py::array& planes) {
    if (!planes.dtype().equal(py::dtype::of<T>())) return false;
    const auto all = py::array_t<T, py::array::c_style>::ensure(planes);
    planes_ = all;
    rows_ = std::make_unique<Warper<T>>(all.data(), static_cast<int>(all.shape(0)), static_cast<int>(all.shape(2)),
                                        static_cast<int>(all.shape(1)), fields_.data(), static_cast<int>(fields_.shape(1)), offset_.first);
    return true;
  }

  py::array planes_;
  Fields fields_;
  std::pair<int, int> offset_;
  std::unique_ptr<Rows> rows_;
};

py::tuple warp(const py::array& planes, const Fields& fields, std::pair<int, int> offset, std::pair<int, int> shape) {
  Given given(planes, fields, offset, shape);
  const auto [width, height] = shape;
  Floats values(std::vector<py::ssize_t>{planes.shape(0), height, width}), depth(std::vector<py::ssize_t>{height, width});
  float *value = values.mutable_data(), *deep = depth.mutable_data();
  {
    py::gil_scoped_release release;
    for (int y = 0; y < height; ++y) {
      const size_t at = static_cast<size_t>(y) * width;
      given.rows().row(offset.second + y, width, value + at, static_cast<size_t>(width) * height, deep + at);
    }
  }
  return py::make_tuple(values, depth);
}

template <class T>
bool filled(Rows& rows, py::array& out, int first, double background) {
  if (!out.dtype().equal(py::dtype::of<T>())) return false;
  const auto channels = out.shape(0), height = out.shape(1), width = out.shape(2);
  const auto plane = out.strides(0), line = out.strides(1);
  auto* bytes = static_cast<char*>(out.mutable_data());
  std::vector<float> values(channels * width), depth(width);
  const T nothing = static_cast<T>(background);
  py::gil_scoped_release release;
  for (py::ssize_t y = 0; y < height; ++y) {
    rows.row(first + static_cast<int>(y), static_cast<int>(width), values.data(), width, depth.data());
    for (py::ssize_t c = 0; c < channels; ++c) {
      const float* from = values.data() + c * width;
      T* to = reinterpret_cast<T*>(bytes + c * plane + y * line);
      for (py::ssize_t x = 0; x < width; ++x) to[x] = depth[x] > 0 ? rounded<T>(from[x]) : nothing;
    }
  }
  return true;
}

void show(const py::array& planes, const Fields& fields, std::pair<int, int> offset, double background, py::array out) {
  if (out.ndim() != 3 || out.shape(0) != planes.shape(0) || (out.shape(2) > 1 && out.strides(2) != out.itemsize()))
    throw std::invalid_argument("give out [channel, y, x], x one after the other, with the channels of the planes");
  Given given(planes, fields, offset, {out.shape(2), out.shape(1)});
  Rows& rows = given.rows();
  const int first = offset.second;
  if (!filled<uint8_t>(rows, out, first, background) && !filled<uint16_t>(rows, out, first, background) &&
      !filled<int16_t>(rows, out, first, background) && !filled<float>(rows, out, first, background))
    throw std::invalid_argument("give out of uint8, uint16, int16 or float32");
}

}  // namespace

PYBIND11_MODULE(warp, m) {
  m.doc() = "Pictures of tiles as they lie in a section.";
  m.attr("STEP") = kStep;
  m.def("warp", &warp, py::arg("planes"), py::arg("fields"), py::arg("offset"), py::arg("shape"));
  m.def("show", &show, py::arg("planes"), py::arg("fields"), py::arg("offset"), py::arg("background"), py::arg("out").noconvert());
}
