// Where small blocks of a picture lie in another one, to a fraction of a pixel: Gauss and Newton's steps with the slopes
// of the first (Lucas and Kanade 1981; Baker and Matthews 2004, inverse compositional).
//
// In each step the second picture's values under a block are explained by the first one's, its two slopes, and a plane:
// gain, offset and shading between the two are solved for with the shift. A block depends on nothing but its own pixels.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Marks = py::array_t<bool, py::array::c_style | py::array::forcecast>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Ints = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

constexpr int kKinds = 6;          // 1, x, y, the value, its slopes along x and y
constexpr int kEdge = 2;           // pixels at borders of the pictures, where filters saw what is not there
constexpr double kLeast = 1e-6;    // of a sum of squares: less says nothing
constexpr double kFarthest = 1.0;  // pixels in one step

struct Picture {
  const float* values;
  const bool* mask;
  int width, height;
};

// Weights of a cubic B-spline at a part `t` of a pixel.
inline std::array<float, 4> spline(float t) {
  const float s = 1.0f - t;
  return {s * s * s / 6.0f, (4.0f + t * t * (3.0f * t - 6.0f)) / 6.0f, (4.0f + s * s * (3.0f * s - 6.0f)) / 6.0f,
          t * t * t / 6.0f};
}

// Sums of products of the kinds, and of the value to be explained.
struct Sums {
  double products[kKinds][kKinds] = {};
  double pull[kKinds] = {};
  double square = 0;
  int count = 0;

  void add(const std::array<float, kKinds>& kinds, float wanted) {
    for (int i = 0; i < kKinds; ++i) {
      for (int j = 0; j <= i; ++j) products[i][j] += static_cast<double>(kinds[i] * kinds[j]);
      pull[i] += static_cast<double>(kinds[i] * wanted);
    }
    square += static_cast<double>(wanted * wanted);
    ++count;
  }
};

struct Found {
  double x = 0, y = 0;                                         // the step
  double value = 0;                                            // correlation, planes aside
  double variance = std::numeric_limits<double>::infinity();  // of a shift along an axis
};

// The step that explains most: Cholesky's factors, kinds in their order, so that planes go first.
Found solved(const Sums& sums) {
  double l[kKinds][kKinds] = {}, half[kKinds] = {};
  Found found;
  double left = sums.square;
  for (int i = 0; i < kKinds; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = sums.products[i][j];
      for (int k = 0; k < j; ++k) sum -= l[i][k] * l[j][k];
      if (i != j) {
        l[i][j] = sum / l[j][j];
      } else if (sum <= kLeast * sums.products[i][i] || sum <= 0) {
        return Found();
      } else {
        l[i][i] = std::sqrt(sum);
      }
    }
    double sum = sums.pull[i];
    for (int k = 0; k < i; ++k) sum -= l[i][k] * half[k];
    half[i] = sum / l[i][i];
    if (i == 3) found.value = left > 0 ? half[3] / std::sqrt(left) : 0;
    left -= half[i] * half[i];
  }
  if (found.value <= 0) return Found();
  const double y = half[5] / l[5][5], x = (half[4] - l[5][4] * y) / l[4][4];
  const double gain = (half[3] - l[4][3] * x - l[5][3] * y) / l[3][3];
  if (gain <= kLeast) return Found();
  found.x = x / gain;
  found.y = y / gain;
  const double xx = l[4][4] * l[4][4], yy = l[5][4] * l[5][4] + l[5][5] * l[5][5], det = xx * l[5][5] * l[5][5];
  found.variance = std::max(left, 0.0) / sums.count * (xx + yy) / (2 * det) / (gain * gain);
  return found;
}

// A picture's spline coefficients, their sum at a place, and whether all that counts is inside.
inline bool sampled(const Picture& b, float x, float y, float* value) {
  const int i = static_cast<int>(std::floor(x)), j = static_cast<int>(std::floor(y));
  if (i < kEdge || j < kEdge || i + 1 >= b.width - kEdge || j + 1 >= b.height - kEdge) return false;
  const int near = static_cast<int>(std::lround(y)) * b.width + static_cast<int>(std::lround(x));
  if (!b.mask[near]) return false;
  const auto across = spline(x - static_cast<float>(i)), down = spline(y - static_cast<float>(j));
  float sum = 0;
  for (int n = 0; n < 4; ++n) {
    const float* row = b.values + static_cast<size_t>(j - 1 + n) * b.width + i - 1;
    sum += down[n] * (across[0] * row[0] + across[1] * row[1] + across[2] * row[2] + across[3] * row[3]);
  }
  *value = sum;
  return true;
}

struct Block {
  int x, y, width, height, stride;
};

Sums summed(const Picture& a, const Picture& b, const Block& block, const double* shift, const double* slopes) {
  Sums sums;
  const float mx = block.x + 0.5f * (block.width - 1), my = block.y + 0.5f * (block.height - 1);
  const float sx = static_cast<float>(shift[0]), sy = static_cast<float>(shift[1]);
  const float near = 2.0f / 3, far = 1.0f / 12;
  for (int j = std::max(block.y, kEdge); j < std::min(block.y + block.height, a.height - kEdge); j += block.stride) {
    for (int i = std::max(block.x, kEdge); i < std::min(block.x + block.width, a.width - kEdge); i += block.stride) {
      const float* at = a.values + static_cast<size_t>(j) * a.width + i;
      if (!a.mask[at - a.values]) continue;
      const float dx = i - mx, dy = j - my;
      const float x = i - sx - static_cast<float>(slopes[0]) * dx - static_cast<float>(slopes[1]) * dy;
      const float y = j - sy - static_cast<float>(slopes[2]) * dx - static_cast<float>(slopes[3]) * dy;
      float value;
      if (!sampled(b, x, y, &value)) continue;
      const int w = a.width;
      const float gx = near * (at[1] - at[-1]) - far * (at[2] - at[-2]);
      const float gy = near * (at[w] - at[-w]) - far * (at[2 * w] - at[-2 * w]);
      sums.add({1.0f, dx, dy, *at, gx, gy}, value);
    }
  }
  return sums;
}

py::tuple refined(const Floats& a, const Marks& in_a, const Floats& b, const Marks& in_b, const Ints& blocks,
                  const Doubles& start, const Doubles& slopes, std::pair<int, int> how) {
  if (a.ndim() != 2 || b.ndim() != 2 || in_a.size() != a.size() || in_b.size() != b.size() || blocks.ndim() != 2 ||
      blocks.shape(1) != 4 || start.size() != 2 * blocks.shape(0) || slopes.size() != 4 * blocks.shape(0))
    throw std::invalid_argument("expected two pictures [y, x] with masks, blocks [n, 4], shifts [n, 2], slopes [n, 2, 2]");
  const Picture first{a.data(), in_a.data(), static_cast<int>(a.shape(1)), static_cast<int>(a.shape(0))};
  const Picture second{b.data(), in_b.data(), static_cast<int>(b.shape(1)), static_cast<int>(b.shape(0))};
  const py::ssize_t count = blocks.shape(0);
  py::array_t<double> shifts({count, py::ssize_t(2)}), values(count), variances(count);
  double *shift = shifts.mutable_data(), *value = values.mutable_data(), *variance = variances.mutable_data();
  const int32_t* block = blocks.data();
  const double *from = start.data(), *bend = slopes.data();
  {
    py::gil_scoped_release release;
    for (py::ssize_t n = 0; n < count; ++n) {
      const Block own{block[4 * n], block[4 * n + 1], block[4 * n + 2], block[4 * n + 3], how.second};
      double at[2] = {from[2 * n], from[2 * n + 1]};
      Found found;
      for (int round = 0; round < how.first; ++round) {
        found = solved(summed(first, second, own, at, bend + 4 * n));
        at[0] += std::clamp(found.x, -kFarthest, kFarthest);
        at[1] += std::clamp(found.y, -kFarthest, kFarthest);
      }
      shift[2 * n] = at[0];
      shift[2 * n + 1] = at[1];
      value[n] = found.value;
      variance[n] = found.variance;
    }
  }
  return py::make_tuple(shifts, values, variances);
}

}  // namespace

PYBIND11_MODULE(lucas, module) {
  module.doc() = "Shifts of small blocks of one picture in another, to a fraction of a pixel.";
  module.def("refined", &refined, py::arg("a"), py::arg("in_a"), py::arg("b"), py::arg("in_b"), py::arg("blocks"),
             py::arg("start"), py::arg("slopes"), py::arg("how"));
}
