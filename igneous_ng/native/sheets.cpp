// Dark sheets in a grey image: the largest eigenvalue of its Hessian at some scales (Frangi et al. 1998; Sato et al. 1998).
//
// Derivatives of Gaussians are separable: planes along z, rows along y, voxels along x, each where all its neighbours
// are there. The eigenvalue is the largest root of t^3 - 3t = r, found by Newton's method from above: additions,
// products, quotients and square roots alone, which every machine rounds the same.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
constexpr float kTiny = 1e-12f, kFlat = 1e-5f, kNowhere = -1e30f;

// A Gaussian and its first two derivatives along one axis.
struct Taps {
  explicit Taps(const Floats& given) {
    if (given.ndim() != 2 || given.shape(0) != 3 || given.shape(1) % 2 == 0)
      throw std::invalid_argument("taps are [3, an odd number]");
    radius = given.shape(1) / 2;
    for (int order = 0; order < 3; ++order) orders[order].assign(given.data(order, 0), given.data(order, 0) + given.shape(1));
  }
  ptrdiff_t radius = 0;
  std::array<std::vector<float>, 3> orders;
};

using Scale = std::array<Taps, 3>;  // along z, y, x

void convolve(const float* in, ptrdiff_t step, ptrdiff_t count, const Taps& taps, int order, float* out) {
  const float* weights = taps.orders[order].data() + taps.radius;
  const float sign = order == 1 ? -1.0f : 1.0f;
  for (ptrdiff_t i = 0; i < count; ++i) out[i] = weights[0] * in[i];
  for (ptrdiff_t k = 1; k <= taps.radius; ++k) {
    const float weight = weights[k];
    const float *after = in + k * step, *before = in - k * step;
    for (ptrdiff_t i = 0; i < count; ++i) out[i] += weight * (after[i] + sign * before[i]);
  }
}

// The largest eigenvalue of each symmetric matrix (xx, yy, zz, xy, xz, yz).
inline float largest(float xx, float yy, float zz, float xy, float xz, float yz) {
  const float mean = (xx + yy + zz) * (1.0f / 3.0f);
  const float a = xx - mean, b = yy - mean, c = zz - mean;
  const float size = std::sqrt((a * a + b * b + c * c + 2.0f * (xy * xy + xz * xz + yz * yz)) * (1.0f / 6.0f)) + kTiny;
  const float det = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz);
  const float r = std::min(2.0f, std::max(-2.0f, det / size / size / size));
  float t = 1.0f + std::sqrt((r + 2.0f) * (1.0f / 3.0f));
  for (int round = 0; round < 3; ++round) t -= (t * t * t - 3.0f * t - r) / std::max(3.0f * t * t - 3.0f, kFlat);
  return mean + size * t;
}

class Filter {
 public:
  Filter(const float* in, std::array<ptrdiff_t, 3> shape, std::array<ptrdiff_t, 3> margin, float darkness, float* out)
      : in_(in), shape_(shape), margin_(margin), darkness_(darkness), out_(out), width_(shape[2] - 2 * margin[2]) {
    for (auto& plane : planes_) plane.resize(shape[1] * shape[2]);
    for (auto& row : rows_) row.resize(shape[2]);
    for (auto& row : found_) row.resize(std::max<ptrdiff_t>(width_, 0));
  }

  void add(const Scale& scale) {
    for (ptrdiff_t z = margin_[0]; z < shape_[0] - margin_[0]; ++z) {
      for (int order = 0; order < 3; ++order)
        for (ptrdiff_t y = 0; y < shape_[1]; ++y)
          convolve(at(z, y), shape_[1] * shape_[2], shape_[2], scale[0], order, &planes_[order][y * shape_[2]]);
      for (ptrdiff_t y = margin_[1]; y < shape_[1] - margin_[1]; ++y) row(scale, z, y);
    }
  }

 private:
  static constexpr int kParts[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {2, 0}};  // derivatives along z and y

  const float* at(ptrdiff_t z, ptrdiff_t y) const { return in_ + (z * shape_[1] + y) * shape_[2]; }

  void row(const Scale& scale, ptrdiff_t z, ptrdiff_t y) {
    for (int part = 0; part < 6; ++part) {
      const float* plane = &planes_[kParts[part][0]][y * shape_[2]];
      convolve(plane, shape_[2], shape_[2], scale[1], kParts[part][1], rows_[part].data());
    }
    along(scale, 0, 0, 0);  // the image, smoothed
    along(scale, 0, 2, 1);  // xx
    along(scale, 2, 0, 2);  // yy
    along(scale, 5, 0, 3);  // zz
    along(scale, 1, 1, 4);  // xy
    along(scale, 3, 1, 5);  // xz
    along(scale, 4, 0, 6);  // yz
    float* out = out_ + (z * shape_[1] + y) * shape_[2] + margin_[2];
    const auto* f = found_.data();
    for (ptrdiff_t x = 0; x < width_; ++x) {
      const float value = largest(f[1][x], f[2][x], f[3][x], f[4][x], f[5][x], f[6][x]) - darkness_ * f[0][x];
      out[x] = std::max(out[x], value);
    }
  }

  void along(const Scale& scale, int part, int order, int to) {
    convolve(rows_[part].data() + margin_[2], 1, width_, scale[2], order, found_[to].data());
  }

  const float* in_;
  std::array<ptrdiff_t, 3> shape_, margin_;
  float darkness_;
  float* out_;
  ptrdiff_t width_;
  std::array<std::vector<float>, 3> planes_;
  std::array<std::vector<float>, 6> rows_;
  std::array<std::vector<float>, 7> found_;
};

Floats respond(const Floats& patch, const std::vector<std::array<Floats, 3>>& given, float darkness) {
  if (patch.ndim() != 3 || given.empty()) throw std::invalid_argument("a patch is [z, y, x], and there are scales");
  std::vector<Scale> scales;
  std::array<ptrdiff_t, 3> margin{}, shape{patch.shape(0), patch.shape(1), patch.shape(2)};
  for (const auto& one : given) {
    scales.push_back({Taps(one[0]), Taps(one[1]), Taps(one[2])});
    for (int axis = 0; axis < 3; ++axis) margin[axis] = std::max(margin[axis], scales.back()[axis].radius);
  }
  Floats out(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  const float* in = patch.data();
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  std::fill_n(to, shape[0] * shape[1] * shape[2], kNowhere);
  Filter filter(in, shape, margin, darkness, to);
  for (const auto& scale : scales) filter.add(scale);
  return out;
}

}  // namespace

PYBIND11_MODULE(sheets, m) { m.def("respond", &respond, py::arg("patch"), py::arg("scales"), py::arg("darkness")); }
