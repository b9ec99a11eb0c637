// Smoothing of surfaces that does not shrink them (Taubin 1995, "A signal processing approach to fair surface design").
//
// A round moves each vertex towards the mean of its neighbours, and then all a little farther back than they came:
// together a filter that leaves what is long against the steps of voxels as it is.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Vertices = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Faces = py::array_t<uint32_t, py::array::c_style | py::array::forcecast>;
constexpr double kThere = 0.5, kBack = -0.53;

class Smoother {
 public:
  Smoother(double* vertices, size_t count, const uint32_t* faces, size_t triangles)
      : at_(vertices), count_(count), faces_(faces), triangles_(triangles), sums_(3 * count), degrees_(count), fixed_(count) {
    std::vector<uint64_t> after(count), before(count);  // around a closed fan both see the same neighbours
    each([&](uint32_t from, uint32_t to) {
      after[from] += to + uint64_t{1};
      before[to] += from + uint64_t{1};
      ++degrees_[from];
    });
    for (size_t i = 0; i < count; ++i) fixed_[i] = after[i] != before[i];
  }

  void step(double share) {
    sums_.assign(sums_.size(), 0);
    each([&](uint32_t from, uint32_t to) {
      for (int axis = 0; axis < 3; ++axis) sums_[3 * size_t{from} + axis] += at_[3 * size_t{to} + axis];
    });
    for (size_t i = 0; i < count_; ++i) {
      if (fixed_[i] || !degrees_[i]) continue;
      for (int axis = 0; axis < 3; ++axis) {
        double& own = at_[3 * i + axis];
        own += share * (sums_[3 * i + axis] / degrees_[i] - own);
      }
    }
  }

 private:
  template <class Call>
  void each(Call call) const {
    for (size_t i = 0; i < triangles_; ++i)
      for (int corner = 0; corner < 3; ++corner) call(faces_[3 * i + corner], faces_[3 * i + (corner + 1) % 3]);
  }

  double* at_;
  size_t count_;
  const uint32_t* faces_;
  size_t triangles_;
  std::vector<double> sums_;
  std::vector<uint32_t> degrees_;
  std::vector<char> fixed_;
};

py::array_t<double> smooth(const Vertices& vertices, const Faces& faces, int rounds) {
  if (vertices.ndim() != 2 || vertices.shape(1) != 3 || faces.ndim() != 2 || faces.shape(1) != 3)
    throw std::invalid_argument("give vertices [n, 3] and faces [m, 3]");
  const auto count = static_cast<size_t>(vertices.shape(0)), triangles = static_cast<size_t>(faces.shape(0));
  for (size_t i = 0; i < 3 * triangles; ++i)
    if (faces.data()[i] >= count) throw std::invalid_argument("a face has a vertex that is not there");
  py::array_t<double> out({vertices.shape(0), vertices.shape(1)});
  std::copy(vertices.data(), vertices.data() + 3 * count, out.mutable_data());
  Smoother smoother(out.mutable_data(), count, faces.data(), triangles);
  py::gil_scoped_release release;
  for (int round = 0; round < rounds; ++round) {
    smoother.step(kThere);
    smoother.step(kBack);
  }
  return out;
}

}  // namespace

PYBIND11_MODULE(smooth, m) {
  m.doc() = "Smoothing of surfaces that does not shrink them.";
  m.def("smooth", &smooth, py::arg("vertices"), py::arg("faces"), py::arg("rounds"));
}
