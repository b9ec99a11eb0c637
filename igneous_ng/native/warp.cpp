// Pictures of tiles as they lie in a section: one interpolation, from where each pixel of the section lies in the tile.
//
// Where that is, is given at the points of a lattice, and bilinear between them. Values between pixels are those of Keys'
// cubic convolution (Keys 1981, "Cubic convolution interpolation for digital image processing", a = -1/2), with the
// pixels at the border repeated beyond it. What a pixel becomes depends on the points of its own cell only, so that it is
// the same, to the last bit, whatever else is asked for with it.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

constexpr int kStep = 16;               // pixels between points of the lattice
constexpr double kLeast = 1.0 / 1024;   // depth of a pixel on the very border
constexpr int kBias = 8;                // makes what is rounded towards zero positive
using Fields = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Floats = py::array_t<float, py::array::c_style>;
typedef float Four __attribute__((vector_size(16)));

// Weights of the four pixels around a place that lies a part `t` of a pixel after the second.
inline Four weights(float t) {
  constexpr Four cube = {-0.5f, 1.5f, -1.5f, 0.5f}, square = {1.0f, -2.5f, 2.0f, -0.5f}, line = {-0.5f, 0.0f, 0.5f, 0.0f},
                 one = {0.0f, 1.0f, 0.0f, 0.0f};
  const Four along = {t, t, t, t};
  return ((cube * along + square) * along + line) * along + one;
}

template <class T>
inline Four four(const T* at) {
  typedef T Own __attribute__((vector_size(4 * sizeof(T))));
  Own found;
  std::memcpy(&found, at, sizeof found);
  return __builtin_convertvector(found, Four);
}

// Where up to kStep pixels of a row lie in the tile.
struct Places {
  int count;
  int x[kStep], y[kStep];
  float across[kStep], down[kStep], depth[kStep];
  bool inside;  // whether all four pixels around each, along both axes, are there
};

template <class T>
class Warper {
 public:
  Warper(const T* planes, int channels, int width, int height, const double* fields, int points, int offset)
      : planes_(planes), channels_(channels), width_(width), height_(height), fields_(fields), points_(points), kinds_(2 + 2 * channels),
        offset_(offset), row_(static_cast<size_t>(points) * kinds_) {}

  // The row `y` of the output, counted from the first points of the lattice.
  void row(int y, int width, float* values, size_t plane, float* depth) {
    blend(y);
    for (int x = offset_; x < offset_ + width;) {
      const int cell = x / kStep, from = x % kStep, count = std::min(kStep - from, offset_ + width - x);
      const double* left = row_.data() + static_cast<size_t>(cell) * kinds_;
      const size_t to = x - offset_;
      if (find(left, from, count)) {
        for (int c = 0; c < channels_; ++c) fill(c, left, from, values + c * plane + to);
        std::copy(places_.depth, places_.depth + count, depth + to);
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

  bool find(const double* left, int from, int count) {
    const double x0 = between(left, 0, from), x1 = between(left, 0, from + count - 1), y0 = between(left, 1, from),
                 y1 = between(left, 1, from + count - 1);
    const auto [xl, xh] = std::minmax(x0, x1);
    const auto [yl, yh] = std::minmax(y0, y1);
    if (!(xh >= -0.5 && xl < width_ - 0.5 && yh >= -0.5 && yl < height_ - 0.5)) return false;  // nor where it is no number
    places_.count = count;
    places_.inside = xl >= 1 && xh < width_ - 2 && yl >= 1 && yh < height_ - 2;
    double xs[kStep], ys[kStep];
    for (int k = 0; k < count; ++k) xs[k] = between(left, 0, from + k);
    for (int k = 0; k < count; ++k) ys[k] = between(left, 1, from + k);
    const double right = width_ - 0.5, bottom = height_ - 0.5;
    for (int k = 0; k < count; ++k) {
      const double x = xs[k], y = ys[k];
      const double near = std::min(x + 0.5, right - x) * std::min(y + 0.5, bottom - y);
      const bool valid = x >= -0.5 && x < right && y >= -0.5 && y < bottom;
      places_.depth[k] = valid ? static_cast<float>(std::max(near, kLeast)) : 0.0f;
    }
    split(xs, width_, places_.x, places_.across);
    split(ys, height_, places_.y, places_.down);
    return true;
  }

  // Places along an axis as the pixel before each, and the part of a pixel that is left.
  void split(const double* at, int size, int* whole, float* part) const {
    for (int k = 0; k < places_.count; ++k) {
      const double safe = std::min(std::max(at[k], -2.0), size + 1.0);
      whole[k] = static_cast<int>(safe + kBias) - kBias;
      part[k] = static_cast<float>(safe - whole[k]);
    }
  }

  void fill(int channel, const double* left, int from, float* out) const {
    const T* plane = planes_ + static_cast<size_t>(channel) * width_ * height_;
    if (places_.inside)
      for (int k = 0; k < places_.count; ++k) out[k] = taken(plane, k);
    else
      for (int k = 0; k < places_.count; ++k) out[k] = places_.depth[k] > 0 ? taken_at_border(plane, k) : 0.0f;
    const int kind = 2 + 2 * channel;
    for (int k = 0; k < places_.count; ++k) {
      const auto gain = static_cast<float>(between(left, kind, from + k)), add = static_cast<float>(between(left, kind + 1, from + k));
      out[k] = places_.depth[k] > 0 ? out[k] * gain + add : 0.0f;
    }
  }

  float taken(const T* plane, int k) const {
    const T* at = plane + static_cast<ptrdiff_t>(places_.y[k] - 1) * width_ + (places_.x[k] - 1);
    return summed(four(at), four(at + width_), four(at + 2 * static_cast<ptrdiff_t>(width_)), four(at + 3 * static_cast<ptrdiff_t>(width_)), k);
  }

  float taken_at_border(const T* plane, int k) const {
    Four rows[4];
    for (int j = 0; j < 4; ++j) {
      const T* line = plane + static_cast<ptrdiff_t>(std::clamp(places_.y[k] - 1 + j, 0, height_ - 1)) * width_;
      for (int i = 0; i < 4; ++i) rows[j][i] = static_cast<float>(line[std::clamp(places_.x[k] - 1 + i, 0, width_ - 1)]);
    }
    return summed(rows[0], rows[1], rows[2], rows[3], k);
  }

  float summed(Four a, Four b, Four c, Four d, int k) const {
    const Four down = weights(places_.down[k]);
    const Four column = (a * down[0] + b * down[1]) + (c * down[2] + d * down[3]);
    const Four each = column * weights(places_.across[k]);
    return (each[0] + each[1]) + (each[2] + each[3]);
  }

  const T* planes_;
  int channels_, width_, height_;
  const double* fields_;
  int points_, kinds_, offset_;
  std::vector<double> row_;
  Places places_{};
};

template <class T>
void warped(const py::array& planes, const Fields& fields, std::pair<int, int> offset, Floats& values, Floats& depth) {
  const auto all = py::array_t<T, py::array::c_style>::ensure(planes);
  const int channels = static_cast<int>(all.shape(0)), height = static_cast<int>(all.shape(1)), width = static_cast<int>(all.shape(2));
  const auto rows = static_cast<int>(depth.shape(0)), columns = static_cast<int>(depth.shape(1));
  Warper<T> warper(all.data(), channels, width, height, fields.data(), static_cast<int>(fields.shape(1)), offset.first);
  float *value = values.mutable_data(), *deep = depth.mutable_data();
  py::gil_scoped_release release;
  for (int y = 0; y < rows; ++y) {
    const size_t at = static_cast<size_t>(y) * columns;
    warper.row(offset.second + y, columns, value + at, static_cast<size_t>(rows) * columns, deep + at);
  }
}

py::tuple warp(const py::array& planes, const Fields& fields, std::pair<int, int> offset, std::pair<int, int> shape) {
  if (planes.ndim() != 3 || !planes.size()) throw std::invalid_argument("give planes [channel, y, x]");
  if (fields.ndim() != 3 || fields.shape(2) != 2 + 2 * planes.shape(0))
    throw std::invalid_argument("give fields [y, x, 2 + 2 channels]");
  const auto [x, y] = offset;
  const auto [width, height] = shape;
  if (x < 0 || y < 0 || width < 1 || height < 1 || (x + width - 1) / kStep + 2 > fields.shape(1) || (y + height - 1) / kStep + 2 > fields.shape(0))
    throw std::invalid_argument("the lattice ends before the pixels do");
  Floats values(std::vector<py::ssize_t>{planes.shape(0), height, width}), depth(std::vector<py::ssize_t>{height, width});
  const auto kind = planes.dtype();
  if (kind.equal(py::dtype::of<uint8_t>())) warped<uint8_t>(planes, fields, offset, values, depth);
  else if (kind.equal(py::dtype::of<uint16_t>())) warped<uint16_t>(planes, fields, offset, values, depth);
  else if (kind.equal(py::dtype::of<int16_t>())) warped<int16_t>(planes, fields, offset, values, depth);
  else if (kind.equal(py::dtype::of<float>())) warped<float>(planes, fields, offset, values, depth);
  else throw std::invalid_argument("give planes of uint8, uint16, int16 or float32");
  return py::make_tuple(values, depth);
}

}  // namespace

PYBIND11_MODULE(warp, m) {
  m.doc() = "Pictures of tiles as they lie in a section.";
  m.attr("STEP") = kStep;
  m.def("warp", &warp, py::arg("planes"), py::arg("fields"), py::arg("offset"), py::arg("shape"));
}
