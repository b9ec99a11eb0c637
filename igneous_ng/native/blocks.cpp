// How alike blocks of a picture are to another one at each shift of a search, and where they are most alike.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <tuple>

#include "correlation.hpp"
#include "plane.hpp"
#include "tops.hpp"

namespace py = pybind11;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Marks = py::array_t<bool, py::array::c_style | py::array::forcecast>;

template <class T>
igneous::View<T> view(const py::array_t<T, py::array::c_style | py::array::forcecast>& picture) {
  return {picture.data(), static_cast<int>(picture.shape(0)), static_cast<int>(picture.shape(1))};
}

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
  const correlation::Search how{side, blocks, reach, fours, least, weights.data()};
  const py::ssize_t count = std::count(wanted.data(), wanted.data() + wanted.size(), true);
  py::array_t<float> surfaces({count, py::ssize_t(how.shifts()), py::ssize_t(how.shifts())});
  float* out = surfaces.mutable_data();
  const correlation::Marks nodes = view(wanted);
  const correlation::Masked first(view(a), view(in_a), 0), second(view(b), view(in_b), 4);
  {
    py::gil_scoped_release release;
    correlation::Sums sums(how, first, second, nodes);
    for (int dy = 0; dy < how.shifts(); ++dy) sums.run(dy, nodes, out);
  }
  return surfaces;
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
      const tops::Peak peak = tops::highest(tops::Surface{in, side}, apart);
      const auto known = std::count_if(in, in + side * side, [](float value) { return !std::isnan(value); });
      const std::array<double, 10> row = {peak.x,  peak.y,  peak.value, peak.next, peak.spread,
                                          peak.xx, peak.xy, peak.yy,    peak.inner ? 1.0 : 0.0,
                                          static_cast<double>(known) / (side * side)};
      std::copy(row.begin(), row.end(), out);
    }
  }
  return found;
}

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
    igneous::Plane across(height, wide), parts(step, width / step + 1);
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
