// One picture of several that overlap, in two bands (after Burt and Adelson 1983, "A multiresolution spline with
// application to image mosaics", with two levels).
//
// A pixel is that of the picture in which it lies deepest, so that nothing is seen twice. What the others say otherwise at
// a large scale is added, each weighted by how deep the pixel lies in it, so that no border is seen. Of a pair, it is the
// difference that is smoothed, over what both cover: where they agree, their pixels stay what they are.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "rounding.hpp"

namespace py = pybind11;

namespace {

using Floats = py::array_t<float>;
using Owners = py::array_t<int32_t>;

// Planes of rows whose pixels lie one after the other.
template <class T>
struct Planes {
  T* at;
  py::ssize_t plane, line;
  T* row(py::ssize_t c, py::ssize_t y) const { return at + c * plane + y * line; }
};

template <class T, class Array>
Planes<T> planes(Array& array, T* data) {
  const int last = static_cast<int>(array.ndim()) - 1;
  if (last < 1 || last > 2 || (array.shape(last) > 1 && array.strides(last) != array.itemsize()))
    throw std::invalid_argument("give [y, x] or [channel, y, x], x one after the other");
  return {data, last == 2 ? array.strides(0) / array.itemsize() : 0, array.strides(last - 1) / array.itemsize()};
}

Planes<const float> seen(const Floats& array) { return planes(array, array.data()); }

template <class T>
Planes<T> changed(py::array_t<T>& array) { return planes(array, array.mutable_data()); }

void same(const py::array& one, const py::array& other) {
  for (int k = 1; k <= 2; ++k)
    if (one.shape(one.ndim() - k) != other.shape(other.ndim() - k)) throw std::invalid_argument("give arrays of one shape");
}

void lay(const Floats& values, const Floats& depth, int index, Floats mosaic, Floats best, Floats total, Owners owner) {
  for (const py::array& one : {py::array(values), py::array(mosaic), py::array(best), py::array(total), py::array(owner)}) same(one, depth);
  const auto value = seen(values), deep = seen(depth);
  const auto made = changed(mosaic), most = changed(best), sum = changed(total);
  const auto whose = changed(owner);
  const py::ssize_t height = depth.shape(0), width = depth.shape(1), channels = values.shape(0);
  py::gil_scoped_release release;
  for (py::ssize_t y = 0; y < height; ++y) {
    const float* d = deep.row(0, y);
    for (py::ssize_t x = 0; x < width; ++x) sum.row(0, y)[x] += d[x];
    for (py::ssize_t c = 0; c < channels; ++c)
      for (py::ssize_t x = 0; x < width; ++x) made.row(c, y)[x] = d[x] > most.row(0, y)[x] ? value.row(c, y)[x] : made.row(c, y)[x];
    for (py::ssize_t x = 0; x < width; ++x) {
      const bool deeper = d[x] > most.row(0, y)[x];
      whose.row(0, y)[x] = deeper ? index : whose.row(0, y)[x];
      most.row(0, y)[x] = deeper ? d[x] : most.row(0, y)[x];
    }
  }
}

// Sums of a line with the taps of a symmetric filter, the middle one first; zeros lie beyond the line.
class Smoother {
 public:
  Smoother(const float* taps, py::ssize_t count, py::ssize_t width) : taps_(taps), reach_(count - 1), line_(width + 2 * reach_) {}

  float* line() { return line_.data() + reach_; }

  void along(float* out, py::ssize_t width) const {
    const float* in = line_.data() + reach_;
    for (py::ssize_t x = 0; x < width; ++x) out[x] = taps_[0] * in[x];
    for (py::ssize_t t = 1; t <= reach_; ++t)
      for (py::ssize_t x = 0; x < width; ++x) out[x] += taps_[t] * (in[x - t] + in[x + t]);
  }

  void across(const float* plane, py::ssize_t y, py::ssize_t height, py::ssize_t width, float* out) const {
    const std::vector<float> nothing(width);
    const auto row = [&](py::ssize_t at) { return at < 0 || at >= height ? nothing.data() : plane + at * width; };
    const float* middle = row(y);
    for (py::ssize_t x = 0; x < width; ++x) out[x] = taps_[0] * middle[x];
    for (py::ssize_t t = 1; t <= reach_; ++t) {
      const float *above = row(y - t), *below = row(y + t);
      for (py::ssize_t x = 0; x < width; ++x) out[x] += taps_[t] * (above[x] + below[x]);
    }
  }

 private:
  const float* taps_;
  py::ssize_t reach_;
  std::vector<float> line_;
};

struct Window {
  py::ssize_t width, height, x, y;  // its place in the output
  py::ssize_t x0, x1, y0, y1;       // the part of it that is in the output
};

// What of a pair is smoothed: the difference of a channel where both are, or where they are.
template <class Value>
void smooth(Smoother& smoother, const Window& at, std::vector<float>& rows, std::vector<float>& found, Value value) {
  rows.resize(at.width * at.height);
  found.resize(at.width * at.height);
  for (py::ssize_t y = 0; y < at.height; ++y) {
    float* line = smoother.line();
    for (py::ssize_t x = 0; x < at.width; ++x) line[x] = value(y, x);
    smoother.along(rows.data() + y * at.width, at.width);
  }
  for (py::ssize_t y = at.y0; y < at.y1; ++y) smoother.across(rows.data(), y, at.height, at.width, found.data() + y * at.width);
}

void mend(const std::pair<Floats, Floats>& one, const std::pair<Floats, Floats>& other, std::pair<int, int> indices, const Floats& taps,
          std::pair<py::ssize_t, py::ssize_t> place, const Owners& owner, Floats added) {
  for (const py::array& each : {py::array(one.first), py::array(other.first), py::array(other.second)}) same(each, one.second);
  same(added, owner);
  const auto va = seen(one.first), da = seen(one.second), vb = seen(other.first), db = seen(other.second);
  const auto whose = planes(owner, owner.data());
  const auto sum = changed(added);
  const auto [i, j] = indices;
  Window at{one.second.shape(1), one.second.shape(0), place.first, place.second, 0, 0, 0, 0};
  at.x0 = std::max<py::ssize_t>(0, -at.x), at.x1 = std::min(at.width, owner.shape(1) - at.x);
  at.y0 = std::max<py::ssize_t>(0, -at.y), at.y1 = std::min(at.height, owner.shape(0) - at.y);
  if (at.x0 >= at.x1 || at.y0 >= at.y1) return;
  const py::ssize_t channels = one.first.shape(0);
  Smoother smoother(taps.data(), taps.shape(0), at.width);
  std::vector<float> rows, area, difference;
  py::gil_scoped_release release;
  const auto both = [&](py::ssize_t y, py::ssize_t x) { return da.row(0, y)[x] > 0 && db.row(0, y)[x] > 0; };
  smooth(smoother, at, rows, area, [&](py::ssize_t y, py::ssize_t x) { return both(y, x) ? 1.0f : 0.0f; });
  for (py::ssize_t c = 0; c < channels; ++c) {
    smooth(smoother, at, rows, difference,
           [&](py::ssize_t y, py::ssize_t x) { return both(y, x) ? vb.row(c, y)[x] - va.row(c, y)[x] : 0.0f; });
    for (py::ssize_t y = at.y0; y < at.y1; ++y)
      for (py::ssize_t x = at.x0; x < at.x1; ++x) {
        const int32_t whom = whose.row(0, y + at.y)[x + at.x];
        if ((whom != i && whom != j) || !both(y, x)) continue;
        const float mean = difference[y * at.width + x] / area[y * at.width + x];
        sum.row(c, y + at.y)[x + at.x] += whom == i ? db.row(0, y)[x] * mean : -(da.row(0, y)[x] * mean);
      }
  }
}

template <class T>
void show(const Floats& mosaic, const Floats& added, const Floats& total, double background, py::array& out) {
  auto shown = py::array_t<T>::ensure(out);
  same(mosaic, out), same(added, out), same(total, out);
  const auto value = seen(mosaic), more = seen(added), weight = seen(total);
  const auto made = planes(shown, shown.mutable_data());
  const py::ssize_t channels = out.shape(0), height = out.shape(1), width = out.shape(2);
  const T nothing = static_cast<T>(background);
  py::gil_scoped_release release;
  for (py::ssize_t c = 0; c < channels; ++c)
    for (py::ssize_t y = 0; y < height; ++y) {
      const float *v = value.row(c, y), *m = more.row(c, y), *w = weight.row(0, y);
      T* to = made.row(c, y);
      for (py::ssize_t x = 0; x < width; ++x) to[x] = w[x] > 0 ? rounded<T>(m[x] == 0 ? v[x] : v[x] + m[x] / w[x]) : nothing;
    }
}

void shown(const Floats& mosaic, const Floats& added, const Floats& total, double background, py::array out) {
  const auto kind = out.dtype();
  if (out.ndim() != 3) throw std::invalid_argument("give out [channel, y, x]");
  if (kind.equal(py::dtype::of<uint8_t>())) show<uint8_t>(mosaic, added, total, background, out);
  else if (kind.equal(py::dtype::of<uint16_t>())) show<uint16_t>(mosaic, added, total, background, out);
  else if (kind.equal(py::dtype::of<int16_t>())) show<int16_t>(mosaic, added, total, background, out);
  else if (kind.equal(py::dtype::of<float>())) show<float>(mosaic, added, total, background, out);
  else throw std::invalid_argument("give out of uint8, uint16, int16 or float32");
}

}  // namespace

PYBIND11_MODULE(blend, m) {
  m.doc() = "One picture of several that overlap.";
  m.def("lay", &lay, py::arg("values"), py::arg("depth"), py::arg("index"), py::arg("mosaic").noconvert(), py::arg("best").noconvert(),
        py::arg("total").noconvert(), py::arg("owner").noconvert());
  m.def("mend", &mend, py::arg("one"), py::arg("other"), py::arg("indices"), py::arg("taps"), py::arg("place"),
        py::arg("owner").noconvert(), py::arg("added").noconvert());
  m.def("shown", &shown, py::arg("mosaic"), py::arg("added"), py::arg("total"), py::arg("background"), py::arg("out").noconvert());
}
