// Holes: background that no path along faces connects to the outside of the block.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Mask = py::array_t<uint8_t, py::array::f_style>;

// Floods the background from the faces of the block, row by row along x.
class Flood {
 public:
  // With `flat`, there is no way out along z.
  Flood(uint8_t* mask, int64_t sx, int64_t sy, int64_t sz, bool flat)
      : mask_(mask), sx_(sx), sy_(sy), sz_(sz), flat_(flat) {}

  // Sets what stays dry; how many voxels that were.
  int64_t fill() {
    for (int64_t z = 0; z < sz_; ++z)
      for (int64_t y = 0; y < sy_; ++y) {
        const int64_t row = sx_ * (y + sy_ * z);
        const bool face = y == 0 || y + 1 == sy_ || (!flat_ && (z == 0 || z + 1 == sz_));
        for (int64_t x = 0; x < sx_; x += face || sx_ == 1 ? 1 : sx_ - 1) enter(row + x);
      }
    while (!waiting_.empty()) {
      const int64_t at = waiting_.back();
      waiting_.pop_back();
      spread(at);
    }
    int64_t found = 0;
    for (int64_t i = 0; i < sx_ * sy_ * sz_; ++i) {
      found += mask_[i] == kEmpty;
      mask_[i] = mask_[i] != kWet;
    }
    return found;
  }

 private:
  static constexpr uint8_t kEmpty = 0, kFull = 1, kWet = 2;

  void enter(int64_t at) {
    if (mask_[at] != kEmpty) return;
    mask_[at] = kWet;
    waiting_.push_back(at);
  }

  // Wets the run of background along x in which `at` lies, and enters the rows beside it.
  void spread(int64_t at) {
    const int64_t x = at % sx_, row = at - x, y = row / sx_ % sy_, z = row / sx_ / sy_;
    int64_t start = x, stop = x + 1;
    while (start > 0 && mask_[row + start - 1] == kEmpty) mask_[row + --start] = kWet;
    while (stop < sx_ && mask_[row + stop] == kEmpty) mask_[row + stop++] = kWet;
    if (y > 0) beside(row - sx_, start, stop);
    if (y + 1 < sy_) beside(row + sx_, start, stop);
    if (z > 0) beside(row - sx_ * sy_, start, stop);
    if (z + 1 < sz_) beside(row + sx_ * sy_, start, stop);
  }

  // One voxel of each dry run of background is enough, for spreading wets the rest.
  void beside(int64_t row, int64_t start, int64_t stop) {
    for (int64_t x = start; x < stop; ++x)
      if (mask_[row + x] == kEmpty && (x == start || mask_[row + x - 1] == kFull)) enter(row + x);
  }

  uint8_t* mask_;
  int64_t sx_, sy_, sz_;
  bool flat_;
  std::vector<int64_t> waiting_;
};

int64_t fill(Mask& mask, bool flat) {
  if (mask.ndim() != 3) throw std::invalid_argument("a block of three axes is wanted");
  uint8_t* data = mask.mutable_data();
  const int64_t sx = mask.shape(0), sy = mask.shape(1), sz = mask.shape(2);
  py::gil_scoped_release release;
  for (int64_t i = 0; i < sx * sy * sz; ++i) data[i] = data[i] != 0;
  return Flood(data, sx, sy, sz, flat).fill();
}

}  // namespace

PYBIND11_MODULE(holes, m) {
  m.def("fill", [](Mask& mask) { return fill(mask, false); }, py::arg("mask").noconvert());
  m.def("fill_plane", [](Mask& mask) { return fill(mask, true); }, py::arg("mask").noconvert());
}
