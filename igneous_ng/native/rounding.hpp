// Numbers to be shown as integers.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

// The nearest value of a type, rounded half up and clipped; floats stay what they are.
template <class T>
inline T rounded(float value) {
  if constexpr (std::is_floating_point_v<T>) return value;
  constexpr float low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  const float safe = std::min(std::max(value, low), high) + 0.5f;
  const auto towards_zero = static_cast<int32_t>(safe);
  return static_cast<T>(towards_zero - (static_cast<float>(towards_zero) > safe));
}
