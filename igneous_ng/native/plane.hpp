// Pictures in memory, row by row.

#pragma once

#include <cstddef>
#include <vector>

namespace igneous {

struct Plane {
  int height = 0, width = 0;
  std::vector<float> values;

  Plane(int rows, int columns) : height(rows), width(columns), values(static_cast<size_t>(rows) * columns) {}
  float* row(int y) { return values.data() + static_cast<size_t>(y) * width; }
  const float* row(int y) const { return values.data() + static_cast<size_t>(y) * width; }
};

// Such rows that lie elsewhere.
template <class T>
struct View {
  const T* values;
  int height, width;

  const T& at(int y, int x) const { return values[static_cast<size_t>(y) * width + x]; }
};

}  // namespace igneous
