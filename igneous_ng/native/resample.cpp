// A volume as it is seen through a map: each voxel of a window from where it lies in the volume.
//
// Where that is, is given at the points of a lattice in voxels of the whole volume, and trilinear between them. Values
// between voxels are those of the nearest one, trilinear, or of Keys' cubic convolution along each axis (Keys 1981,
// "Cubic convolution interpolation for digital image processing", a = -1/2); voxels at the border are repeated beyond it.
// What a voxel becomes depends on the points of its own cell and on no origin, so that it is the same, to the last bit,
// whatever else is asked for with it.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

constexpr int kStep = 8;  // voxels between points of the lattice
using Three = std::array<int64_t, 3>;
using Points = py::array_t<double, py::array::c_style | py::array::forcecast>;

// What is held of a volume: `shape` voxels from `origin` on, x fastest, of all that lie from `low` to `high`.
template <class T>
struct Held {
  const T* data;
  Three origin, shape, low, high;

  // The index along `axis` of voxel `at` or, beyond the border, of the one at it; never one that is not held.
  int64_t index(int axis, int64_t at) const {
    return std::clamp(std::clamp(at, low[axis], high[axis] - 1) - origin[axis], int64_t{0}, shape[axis] - 1);
  }

  bool inside(const double* at) const {
    for (int axis = 0; axis < 3; ++axis)
      if (!(at[axis] >= static_cast<double>(low[axis]) - 0.5 && at[axis] < static_cast<double>(high[axis]) - 0.5)) return false;
    return true;
  }

  const T* row(int64_t y, int64_t z) const { return data + (z * shape[1] + y) * shape[0]; }
};

struct Nearest {
  template <class T>
  static T taken(const Held<T>& held, const double* at) {
    int64_t i[3];
    for (int axis = 0; axis < 3; ++axis) i[axis] = held.index(axis, static_cast<int64_t>(std::floor(at[axis] + 0.5)));
    return held.row(i[1], i[2])[i[0]];
  }
};

template <int N>
struct Weighted {
  static void weights(float t, float* w) {
    if constexpr (N == 2) {
      w[0] = 1 - t, w[1] = t;
    } else {
      w[0] = ((-0.5f * t + 1.0f) * t - 0.5f) * t;
      w[1] = (1.5f * t - 2.5f) * t * t + 1.0f;
      w[2] = ((-1.5f * t + 2.0f) * t + 0.5f) * t;
      w[3] = (0.5f * t - 0.5f) * t * t;
    }
  }

  template <class T>
  static float taken(const Held<T>& held, const double* at) {
    int64_t i[3][N];
    float w[3][N];
    for (int axis = 0; axis < 3; ++axis) {
      const double whole = std::floor(at[axis]);
      weights(static_cast<float>(at[axis] - whole), w[axis]);
      for (int k = 0; k < N; ++k) i[axis][k] = held.index(axis, static_cast<int64_t>(whole) - (N / 2 - 1) + k);
    }
    float sum = 0;
    for (int z = 0; z < N; ++z) {
      float plane = 0;
      for (int y = 0; y < N; ++y) {
        const T* row = held.row(i[1][y], i[2][z]);
        float line = 0;
        for (int x = 0; x < N; ++x) line += w[0][x] * static_cast<float>(row[i[0][x]]);
        plane += w[1][y] * line;
      }
      sum += w[2][z] * plane;
    }
    return sum;
  }
};

// The places of the voxels of a row of the window, from those at the points of the lattice.
class Lattice {
 public:
  Lattice(const Points& points, Three offset) : data_(points.data()), nx_(points.shape(2)), ny_(points.shape(1)), offset_(offset), row_(3 * nx_) {}

  void row(int64_t y, int64_t z) {
    const int64_t v = y + offset_[1], w = z + offset_[2];
    const double fy = (v % kStep) / static_cast<double>(kStep), fz = (w % kStep) / static_cast<double>(kStep);
    const int64_t line = 3 * nx_, plane = line * ny_;
    const double* at = data_ + (w / kStep) * plane + (v / kStep) * line;
    for (int64_t i = 0; i < line; ++i) {
      const double near = at[i] + (at[i + line] - at[i]) * fy, far = at[i + plane] + (at[i + plane + line] - at[i + plane]) * fy;
      row_[i] = near + (far - near) * fz;
    }
  }

  void place(int64_t x, double* at) const {
    const int64_t u = x + offset_[0];
    const double* left = row_.data() + 3 * (u / kStep);
    const double part = (u % kStep) / static_cast<double>(kStep);
    for (int axis = 0; axis < 3; ++axis) at[axis] = left[axis] + (left[axis + 3] - left[axis]) * part;
  }

 private:
  const double* data_;
  int64_t nx_, ny_;
  Three offset_;
  std::vector<double> row_;
};

template <class T, class Out, class How>
py::tuple run(const py::array& volume, Held<T> held, const Points& points, Three offset, Three shape) {
  const auto all = py::array_t<T, py::array::c_style>::ensure(volume);
  held.data = all.data();
  py::array_t<Out> values({shape[2], shape[1], shape[0]});
  py::array_t<bool> inside({shape[2], shape[1], shape[0]});
  Out* value = values.mutable_data();
  bool* in = inside.mutable_data();
  Lattice lattice(points, offset);
  {
    py::gil_scoped_release release;
    for (int64_t row = 0; row < shape[1] * shape[2]; ++row) {
      lattice.row(row % shape[1], row / shape[1]);
      for (int64_t x = 0; x < shape[0]; ++x, ++value, ++in) {
        double at[3];
        lattice.place(x, at);
        *in = held.inside(at);
        *value = *in ? How::taken(held, at) : Out(0);
      }
    }
  }
  return py::make_tuple(values, inside);
}

template <class T>
py::tuple interpolated(const py::array& volume, const Held<T>& held, const Points& points, Three offset, Three shape, const std::string& method) {
  if (method == "nearest") return run<T, T, Nearest>(volume, held, points, offset, shape);
  if (method == "linear") return run<T, float, Weighted<2>>(volume, held, points, offset, shape);
  if (method == "cubic") return run<T, float, Weighted<4>>(volume, held, points, offset, shape);
  throw std::invalid_argument("the method is nearest, linear or cubic");
}

template <class T>
bool tried(py::tuple& out, const py::array& volume, const std::array<Three, 3>& frame, const Points& points, Three offset, Three shape, const std::string& method) {
  if (!volume.dtype().equal(py::dtype::of<T>())) return false;
  const Three held{volume.shape(2), volume.shape(1), volume.shape(0)};
  out = interpolated<T>(volume, {nullptr, frame[0], held, frame[1], frame[2]}, points, offset, shape, method);
  return true;
}

py::tuple resample(const py::array& volume, const std::array<Three, 3>& frame, const Points& points, Three offset, Three shape, const std::string& method) {
  if (volume.ndim() != 3 || !volume.size()) throw std::invalid_argument("give a volume [z, y, x] that is not empty");
  if (points.ndim() != 4 || points.shape(3) != 3) throw std::invalid_argument("give points [z, y, x, 3]");
  for (int axis = 0; axis < 3; ++axis) {
    if (frame[2][axis] <= frame[1][axis]) throw std::invalid_argument("the bounds of the volume hold nothing");
    if (offset[axis] < 0 || shape[axis] < 1 || (offset[axis] + shape[axis] - 1) / kStep + 2 > points.shape(2 - axis))
      throw std::invalid_argument("the lattice ends before the voxels do");
  }
  py::tuple out;
  const bool known = tried<uint8_t>(out, volume, frame, points, offset, shape, method) || tried<uint16_t>(out, volume, frame, points, offset, shape, method) ||
                     tried<uint32_t>(out, volume, frame, points, offset, shape, method) || tried<uint64_t>(out, volume, frame, points, offset, shape, method) ||
                     tried<int8_t>(out, volume, frame, points, offset, shape, method) || tried<int16_t>(out, volume, frame, points, offset, shape, method) ||
                     tried<int32_t>(out, volume, frame, points, offset, shape, method) || tried<int64_t>(out, volume, frame, points, offset, shape, method) ||
                     tried<float>(out, volume, frame, points, offset, shape, method);
  if (!known) throw std::invalid_argument("give a volume of integers or of float32");
  return out;
}

}  // namespace

PYBIND11_MODULE(resample, m) {
  m.doc() = "A volume as it is seen through a map.";
  m.attr("STEP") = kStep;
  m.def("resample", &resample, py::arg("volume"), py::arg("frame"), py::arg("points"), py::arg("offset"), py::arg("shape"), py::arg("method"));
}
