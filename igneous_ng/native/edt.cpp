// The Euclidean distance of each voxel to the nearest voxel of another label, along x, then y, then z: parabolas over
// each run of one label, of which the lowest counts (Felzenszwalb & Huttenlocher 2012, Theory of Computing 8:415; one
// pass for all labels as Silversmith 2018 has it). Where the block ends nothing is near, unless that is asked for.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Components = py::array_t<uint32_t, py::array::f_style>;
using Distances = py::array_t<float, py::array::f_style>;
using Vec3 = std::array<int64_t, 3>;
constexpr float kFar = std::numeric_limits<float>::infinity();
constexpr int64_t kLanes = 16;  // columns handled together: a line of the cache

// Squared distances along x alone: to the end of the run on either side.
void along_row(const uint32_t* labels, float* out, int64_t count, double side, bool border) {
  for (int64_t start = 0, stop; start < count; start = stop) {
    for (stop = start + 1; stop < count && labels[stop] == labels[start];) ++stop;
    const bool low = start > 0 || border, high = stop < count || border;
    for (int64_t i = start; i < stop; ++i) {
      const double left = low ? (i - start + 1) * side : kFar, right = high ? (stop - i) * side : kFar;
      const double near = std::min(left, right);
      out[i] = labels[start] ? static_cast<float>(near * near) : 0.0f;
    }
  }
}

// The lower envelope of parabolas over one line.
class Envelope {
 public:
  Envelope(int64_t longest, double side)
      : places_(longest + 2), heights_(longest + 2), starts_(longest + 3), side_(side * side) {}

  // Replaces heights f[0..count) by min over j of f[j] + (side (i - j))^2, with zeros before and behind where said.
  void lower(float* f, int64_t count, bool before, bool behind) {
    size_ = 0;
    if (before) add(-1, 0);
    for (int64_t i = 0; i < count; ++i)
      if (f[i] != kFar) add(i, f[i]);
    if (behind) add(count, 0);
    if (!size_) return;
    for (int64_t i = 0, at = 0; i < count; ++i) {
      while (at + 1 < size_ && starts_[at + 1] <= i) ++at;
      const double away = static_cast<double>(i - places_[at]);
      f[i] = static_cast<float>(heights_[at] + side_ * away * away);
    }
  }

 private:
  void add(int64_t place, double height) {
    double start = -std::numeric_limits<double>::infinity();
    while (size_) {
      const int64_t last = places_[size_ - 1];
      start = (height - heights_[size_ - 1]) / (2 * side_ * static_cast<double>(place - last)) +
              0.5 * static_cast<double>(place + last);
      if (start > starts_[size_ - 1]) break;
      if (--size_ == 0) start = -std::numeric_limits<double>::infinity();
    }
    places_[size_] = place, heights_[size_] = height, starts_[size_++] = start;
  }

  std::vector<int64_t> places_;
  std::vector<double> heights_, starts_;
  double side_;
  int64_t size_ = 0;
};

// One pass along an axis other than x, over `lanes` neighbouring columns that begin at the pointers given.
class Columns {
 public:
  Columns(int64_t count, int64_t step, double side, bool border)
      : count_(count),
        step_(step),
        border_(border),
        envelope_(count, side),
        labels_(count * kLanes),
        f_(count * kLanes) {}

  void run(const uint32_t* labels, float* out, int64_t lanes) {
    for (int64_t i = 0; i < count_; ++i)
      for (int64_t lane = 0; lane < lanes; ++lane) {
        labels_[lane * count_ + i] = labels[i * step_ + lane];
        f_[lane * count_ + i] = out[i * step_ + lane];
      }
    for (int64_t lane = 0; lane < lanes; ++lane) column(&labels_[lane * count_], &f_[lane * count_]);
    for (int64_t i = 0; i < count_; ++i)
      for (int64_t lane = 0; lane < lanes; ++lane) out[i * step_ + lane] = f_[lane * count_ + i];
  }

 private:
  void column(const uint32_t* labels, float* f) {
    for (int64_t start = 0, stop; start < count_; start = stop) {
      for (stop = start + 1; stop < count_ && labels[stop] == labels[start];) ++stop;
      if (labels[start]) envelope_.lower(f + start, stop - start, start > 0 || border_, stop < count_ || border_);
    }
  }

  int64_t count_, step_;
  bool border_;
  Envelope envelope_;
  std::vector<uint32_t> labels_;
  std::vector<float> f_;
};

void transform(const uint32_t* labels, float* out, const Vec3& shape, const std::array<double, 3>& side, bool border) {
  const auto [sx, sy, sz] = shape;
  for (int64_t row = 0; row < sy * sz; ++row) along_row(labels + row * sx, out + row * sx, sx, side[0], border);
  Columns down(sy, sx, side[1], border), deep(sz, sx * sy, side[2], border);
  for (int64_t z = 0; z < sz; ++z)
    for (int64_t x = 0; x < sx; x += kLanes)
      down.run(labels + z * sx * sy + x, out + z * sx * sy + x, std::min(kLanes, sx - x));
  for (int64_t y = 0; y < sy; ++y)
    for (int64_t x = 0; x < sx; x += kLanes)
      deep.run(labels + y * sx + x, out + y * sx + x, std::min(kLanes, sx - x));
  for (int64_t i = 0; i < sx * sy * sz; ++i) out[i] = std::sqrt(out[i]);
}

Distances distances(const Components& labels, const std::array<double, 3>& spacing, bool border) {
  if (labels.ndim() != 3) throw std::invalid_argument("a block of three axes is wanted");
  for (const double side : spacing)
    if (!(side > 0) || !std::isfinite(side)) throw std::invalid_argument("voxels must have a size");
  const Vec3 shape = {labels.shape(0), labels.shape(1), labels.shape(2)};
  Distances out({shape[0], shape[1], shape[2]});
  const uint32_t* from = labels.data();
  float* to = out.mutable_data();
  py::gil_scoped_release release;
  transform(from, to, shape, spacing, border);
  return out;
}

}  // namespace

PYBIND11_MODULE(edt, m) { m.def("distances", &distances); }
