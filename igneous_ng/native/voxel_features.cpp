// What voxels look like: smoothed values, differences between neighbours, eigenvalues of symmetric matrices.
//
// Arrays are [x, y, z] in Fortran order. Each result is of its own neighbourhood alone, by the same operations wherever
// it lies: only sums, products, quotients and square roots are used, so that all machines agree.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Volume = py::array_t<float, py::array::f_style | py::array::forcecast>;
using Half = std::vector<float>;  // a symmetric kernel from its centre outwards
constexpr int kSix = 6;           // xx, yy, zz, xy, xz, yz of a symmetric matrix
constexpr int kNewton = 4;

py::array_t<float> made(size_t nx, size_t ny, size_t nz, size_t channels) {
  py::array_t<float, py::array::f_style> out(std::vector<py::ssize_t>{
      static_cast<py::ssize_t>(nx), static_cast<py::ssize_t>(ny), static_cast<py::ssize_t>(nz),
      static_cast<py::ssize_t>(channels)});
  return out;
}

// Of `length` values: the middle ones times half[0], and both at each distance k, `step` values apart, times half[k].
void weigh(const float* in, float* out, size_t length, size_t step, const Half& half) {
  for (size_t i = 0; i < length; ++i) out[i] = half[0] * in[i];
  for (size_t k = 1; k < half.size(); ++k) {
    const float *before = in - k * step, *after = in + k * step, weight = half[k];
    for (size_t i = 0; i < length; ++i) out[i] += weight * (before[i] + after[i]);
  }
}

class Smoother {
 public:
  Smoother(const float* in, std::array<size_t, 3> shape, const std::array<Half, 3>& halves)
      : in_(in), shape_(shape), halves_(halves) {
    for (int a = 0; a < 3; ++a) {
      if (shape[a] <= 2 * reach(a)) throw std::invalid_argument("the kernel is wider than the volume");
      left_[a] = shape[a] - 2 * reach(a);
    }
  }

  std::array<size_t, 3> left() const { return left_; }

  // A section at a time: along z, along y, along x.
  void run(float* out) const {
    const size_t nx = shape_[0], area = nx * shape_[1];
    std::vector<float> flat(area), rows(nx * left_[1]);
    for (size_t z = 0; z < left_[2]; ++z) {
      weigh(in_ + (z + reach(2)) * area, flat.data(), area, area, halves_[2]);
      weigh(flat.data() + reach(1) * nx, rows.data(), rows.size(), nx, halves_[1]);
      for (size_t y = 0; y < left_[1]; ++y)
        weigh(rows.data() + y * nx + reach(0), out + (z * left_[1] + y) * left_[0], left_[0], 1, halves_[0]);
    }
  }

 private:
  size_t reach(int axis) const { return halves_[axis].size() - 1; }

  const float* in_;
  std::array<size_t, 3> shape_, left_{};
  const std::array<Half, 3>& halves_;
};

std::array<size_t, 3> shape_of(const Volume& volume, size_t least) {
  if (volume.ndim() != 3) throw std::invalid_argument("give a volume [x, y, z]");
  std::array<size_t, 3> shape{};
  for (int a = 0; a < 3; ++a) {
    shape[a] = static_cast<size_t>(volume.shape(a));
    if (shape[a] < least) throw std::invalid_argument("the volume is too small");
  }
  return shape;
}

py::array_t<float> smooth(const Volume& volume, const std::array<Half, 3>& halves) {
  for (const Half& half : halves)
    if (half.empty()) throw std::invalid_argument("a kernel has at least one weight");
  const Smoother smoother(volume.data(), shape_of(volume, 1), halves);
  const auto left = smoother.left();
  auto out = made(left[0], left[1], left[2], 1);
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  smoother.run(to);
  return out;
}

// The neighbours of one voxel: differences in units of `scale`.
struct Around {
  const float* at;
  std::array<size_t, 3> step;
  std::array<float, 3> scale;

  float slope(int a) const { return 0.5f * (at[step[a]] - *(at - step[a])) * scale[a]; }
  float bend(int a) const { return ((at[step[a]] - *at) - (*at - *(at - step[a]))) * scale[a] * scale[a]; }
  float twist(int a, int b) const {
    const float same = at[step[a] + step[b]] + *(at - step[a] - step[b]);
    const float other = *(at + step[a] - step[b]) + *(at - step[a] + step[b]);
    return 0.25f * (same - other) * scale[a] * scale[b];
  }
};

// Eigenvalues of a symmetric matrix, falling: c is the root in [1/2, 1] of 4 c^3 - 3 c = r, the cosine of the third of
// an angle whose cosine is r (Smith 1961, "Eigenvalues of a symmetric 3 x 3 matrix"), found by Newton's method.
std::array<float, 3> eigenvalues(const std::array<float, kSix>& m) {
  const float mean = (m[0] + m[1] + m[2]) / 3.0f;
  const float x = m[0] - mean, y = m[1] - mean, z = m[2] - mean;
  const float off = m[3] * m[3] + m[4] * m[4] + m[5] * m[5];
  const float p = std::sqrt((x * x + y * y + z * z + 2.0f * off) / 6.0f);
  if (!(p > 1e-20f)) return {mean, mean, mean};
  const float a = x / p, b = y / p, c = z / p, d = m[3] / p, e = m[4] / p, f = m[5] / p;
  const float det = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e);
  const float r = std::min(1.0f, std::max(-1.0f, 0.5f * det));
  float cosine = 0.5f + std::sqrt((1.0f + r) / 6.0f);
  for (int i = 0; i < kNewton; ++i) {
    const float square = cosine * cosine;
    cosine -= (cosine * (4.0f * square - 3.0f) - r) / std::max(12.0f * square - 3.0f, 1e-6f);
  }
  cosine = std::min(1.0f, std::max(0.5f, cosine));
  const float sine = 1.7320508f * std::sqrt(1.0f - cosine * cosine);
  return {mean + 2.0f * p * cosine, mean - p * (cosine - sine), mean - p * (cosine + sine)};
}

// Calls `each(around, index)` for every voxel that has neighbours at all sides.
template <class Each>
void inner(const float* in, std::array<size_t, 3> shape, std::array<float, 3> scale, Each each) {
  const std::array<size_t, 3> step{1, shape[0], shape[0] * shape[1]};
  size_t index = 0;
  for (size_t z = 1; z + 1 < shape[2]; ++z)
    for (size_t y = 1; y + 1 < shape[1]; ++y)
      for (size_t x = 1; x + 1 < shape[0]; ++x)
        each(Around{in + x + y * step[1] + z * step[2], step, scale}, index++);
}

py::array_t<float> shapes(const Volume& volume, std::array<float, 3> scale) {
  const auto shape = shape_of(volume, 3);
  auto out = made(shape[0] - 2, shape[1] - 2, shape[2] - 2, 5);
  const size_t count = static_cast<size_t>(out.size()) / 5;
  float* to = out.mutable_data();
  const float* in = volume.data();
  py::gil_scoped_release release;
  inner(in, shape, scale, [&](const Around& v, size_t i) {
    const float gx = v.slope(0), gy = v.slope(1), gz = v.slope(2);
    const std::array<float, kSix> m{v.bend(0), v.bend(1), v.bend(2), v.twist(0, 1), v.twist(0, 2), v.twist(1, 2)};
    const auto found = eigenvalues(m);
    to[i] = std::sqrt(gx * gx + gy * gy + gz * gz);
    to[count + i] = m[0] + m[1] + m[2];
    for (int k = 0; k < 3; ++k) to[(2 + k) * count + i] = found[k];
  });
  return out;
}

py::array_t<float> products(const Volume& volume, std::array<float, 3> scale) {
  const auto shape = shape_of(volume, 3);
  auto out = made(shape[0] - 2, shape[1] - 2, shape[2] - 2, kSix);
  const size_t count = static_cast<size_t>(out.size()) / kSix;
  float* to = out.mutable_data();
  const float* in = volume.data();
  py::gil_scoped_release release;
  inner(in, shape, scale, [&](const Around& v, size_t i) {
    const float gx = v.slope(0), gy = v.slope(1), gz = v.slope(2);
    const std::array<float, kSix> m{gx * gx, gy * gy, gz * gz, gx * gy, gx * gz, gy * gz};
    for (int k = 0; k < kSix; ++k) to[k * count + i] = m[k];
  });
  return out;
}

py::array_t<float> spectrum(const Volume& six) {
  if (six.ndim() != 4 || six.shape(3) != kSix) throw std::invalid_argument("give matrices [x, y, z, 6]");
  auto out = made(static_cast<size_t>(six.shape(0)), static_cast<size_t>(six.shape(1)),
                  static_cast<size_t>(six.shape(2)), 3);
  const size_t count = static_cast<size_t>(out.size()) / 3;
  float* to = out.mutable_data();
  const float* in = six.data();
  py::gil_scoped_release release;
  for (size_t i = 0; i < count; ++i) {
    std::array<float, kSix> m{};
    for (int k = 0; k < kSix; ++k) m[k] = in[k * count + i];
    const auto found = eigenvalues(m);
    for (int k = 0; k < 3; ++k) to[k * count + i] = found[k];
  }
  return out;
}

}  // namespace

PYBIND11_MODULE(voxel_features, m) {
  m.doc() = "What voxels look like.";
  m.def("smooth", [](const Volume& volume, Half x, Half y, Half z) { return smooth(volume, {x, y, z}); },
        py::arg("volume"), py::arg("x"), py::arg("y"), py::arg("z"));
  m.def("shapes", [](const Volume& volume, float x, float y, float z) { return shapes(volume, {x, y, z}); },
        py::arg("volume"), py::arg("x"), py::arg("y"), py::arg("z"));
  m.def("products", [](const Volume& volume, float x, float y, float z) { return products(volume, {x, y, z}); },
        py::arg("volume"), py::arg("x"), py::arg("y"), py::arg("z"));
  m.def("eigenvalues", &spectrum, py::arg("six"));
}
