// The centre line of one connected object: TEASAR (Sato et al. 2000) as kimimaro varies it (Bae et al. 2021).
//
// A root is chosen; the distance D of each voxel from it, through the object, is found. Paths are then drawn until each
// voxel is covered: from the uncovered voxel of largest D to the lines drawn before, by the cheapest way. To enter a
// voxel costs pdrf_scale (1 - B / max^1.01)^pdrf_exponent + D / max D, where B is its distance to the boundary. A path
// covers the voxels that can be reached within balls of scale B + const around its own.
//
// All state lies in arrays over the block, of which an object touches its own voxels only; what a search marked is
// unmarked along the list of it. So the work is that of the voxels visited, whatever the size of the block.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lattice.hpp"
#include "queues.hpp"

namespace igneous {

struct Teasar {
  double scale, constant;
  double pdrf_scale;
  int pdrf_exponent;
  double soma_detection, soma_acceptance;
  double soma_scale, soma_constant;
  int64_t max_paths;  // 0: no limit
};

// Voxels, and pairs of indices into them. It has no loop, for each path ends where it meets an older one.
struct Skeleton {
  std::vector<Voxel> vertices;
  std::vector<uint32_t> edges;
};

// Arrays of one entry a voxel that the tracers of all objects share: each writes its own object's entries only.
struct Fields {
  const float* boundary;
  uint32_t* cost;
  uint8_t* from;
};

struct Targets {
  std::vector<Voxel> borders;  // the last is the root, the others are reached first
  std::vector<Voxel> before;   // reached next
  std::vector<Voxel> after;    // reached last, covered or not
};

class Tracer {
 public:
  Tracer(const Lattice& lattice, const Teasar& rules, Fields fields)
      : lattice_(lattice),
        rules_(rules),
        fields_(fields),
        flags_(lattice.voxels(), 0),
        field_(longest(lattice, kFieldGrain)),
        balls_(longest(lattice, kBallGrain)) {
    for (int k = 0; k < Lattice::kSteps; ++k)
      length_[k] = std::max<uint32_t>(1, static_cast<uint32_t>(std::lround(lattice.length(k) * grain(kFieldGrain))));
    mark_edges();
  }

  // The skeleton of the object of `count` voxels, ascending and connected by the 26 steps.
  Skeleton run(const Voxel* voxels, size_t count, Targets targets) {
    voxels_ = voxels;
    left_ = count_ = count;
    made_ = {};
    for (size_t i = 0; i < count; ++i) flags_[voxels[i]] |= kMember | kOpen;
    const Voxel root = measure(targets);
    price();
    add(root);
    if (soma_) cover({root}, rules_.soma_scale, rules_.soma_constant);
    draw(root, std::move(targets));
    for (size_t i = 0; i < count; ++i) flags_[voxels[i]] &= kEdge;
    return std::move(made_);
  }

 private:
  static constexpr uint8_t kMember = 1, kOpen = 2, kRail = 4, kSeen = 8, kEdge = 16;
  static constexpr double kFieldGrain = 64, kBallGrain = 8;  // units of length in the smallest side of a voxel
  static constexpr uint32_t kFar = ~0u;

  struct Rolling {
    Voxel voxel;
    uint32_t centre;
  };
  struct Ball {
    Point at;
    float reach;  // squared
  };

  // Units a nm; fewer where voxels are so flat that a step would have too many.
  double grain(double fine) const {
    const auto& s = lattice_.spacing;
    return std::min(fine / std::min({s[0], s[1], s[2]}), 60000 / lattice_.length(Lattice::kSteps - 1));
  }

  uint32_t longest(const Lattice& lattice, double fine) const {
    return static_cast<uint32_t>(std::ceil(lattice.length(Lattice::kSteps - 1) * grain(fine))) + 2;
  }

  void mark_edges() {
    const auto& [sx, sy, sz] = lattice_.shape;
    for (int64_t z = 0; z < sz; ++z)
      for (int64_t y = 0; y < sy; ++y) {
        uint8_t* row = &flags_[sx * (y + sy * z)];
        if (z == 0 || y == 0 || z + 1 == sz || y + 1 == sy) std::fill(row, row + sx, kEdge);
        row[0] = row[sx - 1] = kEdge;
      }
  }

  // Chooses the root, decides whether this is a soma, and measures from the root; takes the root out of the targets.
  Voxel measure(Targets& targets) {
    deepest_ = 0;
    for (size_t i = 0; i < count_; ++i) deepest_ = std::max(deepest_, fields_.boundary[voxels_[i]]);
    soma_ = deepest_ > rules_.soma_detection && deepest_ > rules_.soma_acceptance;
    Voxel root;
    if (soma_) {
      root = centre();
    } else if (!targets.borders.empty()) {
      const auto thickest = std::max_element(
          targets.borders.begin(), targets.borders.end(),
          [&](Voxel a, Voxel b) { return fields_.boundary[a] < fields_.boundary[b]; });
      root = *thickest;
      targets.borders.erase(thickest);
    } else {
      spread(voxels_[0]);
      root = order_.back();
    }
    spread(root);
    return root;
  }

  // Of the voxels deepest inside, that nearest to their mean.
  Voxel centre() const {
    double mean[3] = {0, 0, 0};
    int64_t found = 0;
    for (size_t i = 0; i < count_; ++i)
      if (fields_.boundary[voxels_[i]] == deepest_) {
        const Point p = lattice_.point(voxels_[i]);
        mean[0] += p.x, mean[1] += p.y, mean[2] += p.z;
        ++found;
      }
    Voxel best = voxels_[0];
    double nearest = -1;
    for (size_t i = 0; i < count_; ++i) {
      if (fields_.boundary[voxels_[i]] != deepest_) continue;
      const Point p = lattice_.point(voxels_[i]);
      const double x = p.x - mean[0] / found, y = p.y - mean[1] / found, z = p.z - mean[2] / found;
      const double away = x * x + y * y + z * z;
      if (nearest < 0 || away < nearest) nearest = away, best = voxels_[i];
    }
    return best;
  }

  // The distance of each voxel from the start, along steps, into cost; all voxels by that distance into order_.
  void spread(Voxel start) {
    uint32_t* far = fields_.cost;
    for (size_t i = 0; i < count_; ++i) far[voxels_[i]] = kFar;
    order_.clear();
    field_.reset();
    field_.push(far[start] = 0, start);
    for (Voxel voxel; field_.pop(voxel);) {
      const uint32_t here = field_.now();
      if (far[voxel] != here) continue;  // reached by a shorter way meanwhile
      order_.push_back(voxel);
      lattice_.around(voxel, flags_[voxel] & kEdge, [&](Voxel next, int k) {
        if (!(flags_[next] & kMember) || far[next] <= here + length_[k]) return;
        field_.push(far[next] = here + length_[k], next);
      });
    }
  }

  // Turns distances from the root into costs, as integers of which the largest just fit.
  void price() {
    const double unit = std::exp2(std::floor(std::log2(4294967295.0 / (rules_.pdrf_scale + 2))));
    const double depth = 1 / std::pow(static_cast<double>(deepest_), 1.01);
    const double whole = std::max<uint32_t>(1, fields_.cost[order_.back()]);
    for (size_t i = 0; i < count_; ++i) {
      const Voxel voxel = voxels_[i];
      const double shallow = std::max(0.0, 1 - fields_.boundary[voxel] * depth);
      double penalty = rules_.pdrf_scale;
      for (int n = 0; n < rules_.pdrf_exponent; ++n) penalty *= shallow;
      fields_.cost[voxel] = 1 + static_cast<uint32_t>(unit * (penalty + fields_.cost[voxel] / whole));
    }
  }

  void draw(Voxel root, Targets targets) {
    std::vector<Voxel> wanted = std::move(targets.before);
    wanted.insert(wanted.end(), targets.borders.begin(), targets.borders.end());
    size_t last = order_.size();
    const auto most = rules_.max_paths ? static_cast<size_t>(rules_.max_paths) : SIZE_MAX;
    for (size_t paths = 0; paths < most; ++paths) {
      Voxel target;
      if (!wanted.empty()) {
        target = wanted.back();
        wanted.pop_back();
      } else if (left_) {
        do target = order_[--last];
        while (!(flags_[target] & kOpen));
      } else if (!targets.after.empty()) {
        target = targets.after.back();
        targets.after.pop_back();
      } else {
        break;
      }
      find(target);
      lay(root);
      cover(path_, rules_.scale, rules_.constant);
      if (flags_[target] & kOpen) flags_[target] &= ~kOpen, --left_;  // it lies in a soma, out of reach of its centre
    }
  }

  // The cheapest path from the lines drawn so far to the target, into path_. To enter a voxel costs the same from
  // everywhere, so the first who reaches it does so most cheaply, and each voxel is pushed once.
  void find(Voxel target) {
    path_.clear();
    Voxel rail = target;
    if (!(flags_[target] & kRail)) {
      heap_.clear();
      heap_.push(0, target);
      seen_.assign(1, target);
      flags_[target] |= kSeen;
      for (bool met = false; !met && !heap_.empty();) {
        uint64_t here;
        const Voxel voxel = heap_.pop(here);
        lattice_.around(voxel, flags_[voxel] & kEdge, [&](Voxel next, int k) {
          if ((flags_[next] & (kMember | kSeen)) != kMember || met) return;
          fields_.from[next] = static_cast<uint8_t>(k);
          flags_[next] |= kSeen;
          seen_.push_back(next);
          if (flags_[next] & kRail) met = true, rail = next;
          heap_.push(here + fields_.cost[next], next);
        });
      }
      for (Voxel voxel : seen_) flags_[voxel] &= ~kSeen;
    }
    for (Voxel voxel = rail; voxel != target; voxel -= lattice_.offset[fields_.from[voxel]]) path_.push_back(voxel);
    path_.push_back(target);
  }

  // Adds path_ to the skeleton. Inside a soma there are no lines: what comes from outside goes straight to the root.
  void lay(Voxel root) {
    size_t first = 0;
    if (soma_) {
      const double radius = deepest_ * rules_.soma_scale + rules_.soma_constant;
      for (size_t i = path_.size(); i-- > 0 && !first;)
        if (apart(path_[i], root) <= radius) first = i + 1;
      if (first) path_.erase(path_.begin(), path_.begin() + first), path_.insert(path_.begin(), root);
    }
    for (size_t i = 1; i < path_.size(); ++i) {
      const uint32_t before = fields_.cost[path_[i - 1]];
      made_.edges.push_back(before);
      made_.edges.push_back(add(path_[i]));
    }
  }

  // The index of a new vertex; it stands in cost, of which lines that are drawn have no more need.
  uint32_t add(Voxel voxel) {
    flags_[voxel] |= kRail;
    made_.vertices.push_back(voxel);
    return fields_.cost[voxel] = static_cast<uint32_t>(made_.vertices.size() - 1);
  }

  double apart(Voxel a, Voxel b) const {
    const Point p = lattice_.point(a), q = lattice_.point(b);
    const auto& s = lattice_.spacing;
    const double x = (p.x - q.x) * s[0], y = (p.y - q.y) * s[1], z = (p.z - q.z) * s[2];
    return std::sqrt(x * x + y * y + z * z);
  }

  // Closes the open voxels that the balls around the path reach through open voxels, nearest to their centres first.
  void cover(const std::vector<Voxel>& path, double scale, double constant) {
    centres_.clear();
    balls_.reset();
    for (Voxel voxel : path) {
      const double reach = scale * fields_.boundary[voxel] + constant;
      centres_.push_back({lattice_.point(voxel), static_cast<float>(reach * reach)});
      if (flags_[voxel] & kOpen) { flags_[voxel] &= ~kOpen; --left_; }
      balls_.push(0, {voxel, static_cast<uint32_t>(centres_.size() - 1)});
    }
    for (Rolling rolling; balls_.pop(rolling);) roll(rolling);
  }

  void close(Voxel voxel, uint32_t centre, uint32_t key) {
    if (!(flags_[voxel] & kOpen)) return;
    flags_[voxel] &= ~kOpen;
    --left_;
    balls_.push(key, {voxel, centre});
  }

  void roll(const Rolling& rolling) {
    const Ball& ball = centres_[rolling.centre];
    const Point p = lattice_.point(rolling.voxel);
    const auto& s = lattice_.spacing;
    float x[3], y[3], z[3];
    for (int i = 0; i < 3; ++i) {
      x[i] = square((p.x + i - 1 - ball.at.x) * s[0]);
      y[i] = square((p.y + i - 1 - ball.at.y) * s[1]);
      z[i] = square((p.z + i - 1 - ball.at.z) * s[2]);
    }
    const auto units = static_cast<float>(grain(kBallGrain));
    lattice_.around(rolling.voxel, flags_[rolling.voxel] & kEdge, [&](Voxel next, int k) {
      if (!(flags_[next] & kOpen)) return;
      const Point& step = lattice_.step[k];
      const float away = x[step.x + 1] + y[step.y + 1] + z[step.z + 1];
      if (away < ball.reach) close(next, rolling.centre, static_cast<uint32_t>(std::sqrt(away) * units));
    });
  }

  static float square(double value) { return static_cast<float>(value * value); }

  const Lattice& lattice_;
  const Teasar& rules_;
  Fields fields_;
  std::vector<uint8_t> flags_;
  std::array<uint32_t, Lattice::kSteps> length_;
  Dial<Voxel> field_;
  Dial<Rolling> balls_;
  RadixHeap heap_;
  std::vector<Voxel> order_, seen_, path_;
  std::vector<Ball> centres_;
  const Voxel* voxels_ = nullptr;
  size_t count_ = 0, left_ = 0;
  float deepest_ = 0;
  bool soma_ = false;
  Skeleton made_;
};

}  // namespace igneous
