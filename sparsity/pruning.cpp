#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <tuple>
#include <utility>

#include <taper/instantiate.hpp>
#include <taper/sparsity/group_norms.hpp>
#include <taper/sparsity/pruning.hpp>

namespace taper::sparsity {
namespace {

void require_fraction(const char* where, const char* name, double fraction) {
  if (!(fraction >= 0 && fraction <= 1)) {
    throw Error(where, name, " ", fraction, ": expected a number from 0 to 1");
  }
}

Index part(double fraction, Index count) {
  return std::llround(fraction * static_cast<double>(count));
}

enum class Entry : std::uint8_t {
  free,
  pruned,  // frozen at zero
  fixed,   // frozen at another value
};

/// A parameter that is to be pruned, as it is; then its entries are marked as they shall be.
template <class T> struct Target {
  std::string name;
  nn::Parameter<T>* parameter;
  Tensor<T> value;
  std::vector<Entry> entries;
  bool changed = false;

  Entry& entry(Index position) { return entries[static_cast<std::size_t>(position)]; }
  Entry entry(Index position) const { return entries[static_cast<std::size_t>(position)]; }
  double magnitude(Index position) const { return std::abs(static_cast<double>(value[position])); }
  std::vector<Index> positions(Entry kind) const {
    std::vector<Index> result;
    for (Index i = 0; i < value.size(); ++i) {
      if (entry(i) == kind) result.push_back(i);
    }
    return result;
  }
  void prune(Index position) {
    if (entry(position) == Entry::pruned) return;
    entry(position) = Entry::pruned;
    changed = true;
  }
};

template <class T>
Target<T> target_of(const std::string& name, nn::Parameter<T>& parameter, const char* where) {
  Target<T> target{name, &parameter, parameter.materialize(), {}};
  const Mask mask = parameter.mask();
  for (Index i = 0; i < mask.size(); ++i) {
    const T value = target.value[i];
    if (mask.is_free(i) && std::isnan(value)) {
      throw Error(where, "'", name, "' is NaN at position ", i, ": expected numbers");
    }
    target.entries.push_back(mask.is_free(i) ? Entry::free : value == 0 ? Entry::pruned : Entry::fixed);
  }
  return target;
}

template <class T>
std::vector<Target<T>> targets(nn::Module<T>& model, const std::string& match, const char* where) {
  std::vector<Target<T>> result;
  model.for_matching(match, where, [&](const std::string& name, nn::Parameter<T>& parameter) {
    // A parameter that two parts share is one parameter, under its first name.
    const auto known = std::ranges::find(result, &parameter, &Target<T>::parameter);
    if (known == result.end()) result.push_back(target_of(name, parameter, where));
  });
  return result;
}

/// Prunes what is marked, and counts.
template <class T> Pruned apply(const std::vector<Target<T>>& targets) {
  const auto mask = [](const Target<T>& target) {
    return Mask::frozen(target.value.shape(), [&](Index i) { return target.entry(i) == Entry::pruned; });
  };
  // Factors may refuse; then nothing is to be pruned elsewhere.
  for (const Target<T>& target : targets) {
    if (!target.changed || target.parameter->parametrization() == nullptr) continue;
    nn::Parameter<T> trial = *target.parameter;
    trial.prune(mask(target));
  }
  Pruned report;
  for (const Target<T>& target : targets) {
    if (target.changed) target.parameter->prune(mask(target));
    report.pruned += std::ranges::count(target.entries, Entry::pruned);
    report.total += target.value.size() - std::ranges::count(target.entries, Entry::fixed);
  }
  return report;
}

/// A rectangle of a parameter that is pruned as a whole.
struct Candidate {
  double norm;  // negative when nothing is left to prune
  std::size_t target;
  Index row, column;

  // A strict order of all candidates: by size, then by place.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return std::tie(a.norm, a.target, a.row, a.column) < std::tie(b.norm, b.target, b.row, b.column);
  }
};

/// Calls f(position) for every entry of a block whose upper left corner is given.
template <class T, class F>
void for_block(const Target<T>& target, Index row, Index column, const BlockSize& block, F f) {
  const Index rows = target.value.shape().rows(), columns = target.value.shape().columns();
  const Index row_end = row + std::min(block.rows, rows - row);
  const Index column_end = column + std::min(block.columns, columns - column);
  for (Index i = row; i < row_end; ++i) {
    for (Index j = column; j < column_end; ++j) f(i * columns + j);
  }
}

template <class T>
void add_candidates(const Target<T>& target, std::size_t number, const BlockSize& block,
                    std::vector<Candidate>& candidates) {
  const Index rows = target.value.shape().rows(), columns = target.value.shape().columns();
  if (target.value.size() == 0) return;
  // The last block may be far wider than the matrix, so the steps are counted and not added up.
  const Index down = (rows - 1) / block.rows + 1, across = (columns - 1) / block.columns + 1;
  for (Index i = 0; i < down; ++i) {
    for (Index j = 0; j < across; ++j) {
      const Index row = i * block.rows, column = j * block.columns;
      double norm = 0;
      bool gone = true, fixed = false;
      for_block(target, row, column, block, [&](Index position) {
        gone &= target.entry(position) == Entry::pruned;
        fixed |= target.entry(position) == Entry::fixed;
        add_to_norm(norm, target.magnitude(position));
      });
      if (!fixed) candidates.push_back({gone ? -1 : norm, number, row, column});
    }
  }
}

template <class T>
void mark_smallest(std::vector<Target<T>>& targets, std::vector<Candidate>& candidates, double fraction,
                   const BlockSize& block) {
  const auto end = candidates.begin() + part(fraction, static_cast<Index>(candidates.size()));
  std::nth_element(candidates.begin(), end, candidates.end());
  for (auto candidate = candidates.begin(); candidate != end; ++candidate) {
    Target<T>& target = targets[candidate->target];
    for_block(target, candidate->row, candidate->column, block,
              [&](Index position) { target.prune(position); });
  }
}

/// The first `count` of these positions in the order of their keys, equal ones in order of position.
template <class Key> std::vector<Index> smallest(std::vector<Index> positions, Index count, Key key) {
  const auto before = [&](Index a, Index b) {
    return std::pair<double, Index>(key(a), a) < std::pair<double, Index>(key(b), b);
  };
  std::nth_element(positions.begin(), positions.begin() + count, positions.end(), before);
  positions.resize(static_cast<std::size_t>(count));
  return positions;
}

/// Of one run, from position `begin` on.
template <class T> void mark_run(Target<T>& target, Index begin, Index n, Index m) {
  std::vector<Index> run(static_cast<std::size_t>(m));
  std::iota(run.begin(), run.end(), begin);
  const auto fixed = std::ranges::count_if(run, [&](Index i) { return target.entry(i) == Entry::fixed; });
  if (fixed > n) {
    throw Error("prune_n_of_m", fixed, " of the ", m, " entries of '", target.name, "' from position ", begin,
                " on are frozen at values other than zero: expected at most ", n);
  }
  std::erase_if(run, [&](Index i) { return target.entry(i) == Entry::fixed; });
  const auto key = [&](Index i) { return target.entry(i) == Entry::pruned ? -1 : target.magnitude(i); };
  for (const Index position : smallest(run, m - n, key)) target.prune(position);
}

/// The entries of one parameter that are frozen and thawed by drop_and_grow.
template <class T> struct Exchange {
  nn::Parameter<T>* parameter;
  std::vector<Index> lost, grown;
};

template <class T> Exchange<T> exchange(const Target<T>& target, double fraction) {
  Exchange<T> result{target.parameter, {}, {}};
  const std::vector<Index> free = target.positions(Entry::free), frozen = target.positions(Entry::pruned);
  const Index count = part(fraction, static_cast<Index>(free.size()));
  if (count == 0 || frozen.empty()) return result;

  const View<const T> gradient = target.parameter->gradient();
  const auto zero = [](T entry) { return entry == 0; };
  if (target.parameter->block()->writer == 0 && std::all_of(gradient.begin(), gradient.end(), zero)) {
    throw Error("drop_and_grow", "'", target.name, "' has no gradient: expected a backward pass before");
  }
  const std::vector<Index> dropped = smallest(free, count, [&](Index i) { return target.magnitude(i); });
  std::vector<Index> candidates = frozen;
  candidates.insert(candidates.end(), dropped.begin(), dropped.end());
  const std::vector<Index> grown = smallest(candidates, count, [&](Index i) {
    const double size = std::abs(static_cast<double>(gradient[i]));
    return std::isnan(size) ? 1 : -size;
  });
  const Mask chosen = Mask::free(target.value.shape(), grown);
  for (const Index i : dropped) {
    if (chosen.is_frozen(i)) result.lost.push_back(i);
  }
  for (const Index i : grown) {
    if (target.entry(i) == Entry::pruned) result.grown.push_back(i);
  }
  return result;
}

}  // namespace

double cubic_sparsity(Index step, const CubicSchedule& schedule) {
  require_fraction("cubic_sparsity", "initial", schedule.initial);
  require_fraction("cubic_sparsity", "final", schedule.final);
  if (schedule.end <= schedule.begin) {
    throw Error("cubic_sparsity", "steps ", schedule.begin, " to ", schedule.end,
                ": expected an end after the beginning");
  }
  if (step <= schedule.begin) return schedule.initial;
  if (step >= schedule.end) return schedule.final;
  const double begin = static_cast<double>(schedule.begin), end = static_cast<double>(schedule.end);
  const double left = 1 - (static_cast<double>(step) - begin) / (end - begin);
  return schedule.final + (schedule.initial - schedule.final) * left * left * left;
}

double drop_fraction(Index step, Index end, double initial) {
  require_fraction("drop_fraction", "initial", initial);
  if (end < 1) throw Error("drop_fraction", "end ", end, ": expected 1 or more");
  if (step <= 0) return initial;
  if (step >= end) return 0;
  return initial / 2 *
         (1 + std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(end)));
}

template <class T>
Pruned prune_by_magnitude(nn::Module<T>& model, double fraction, const PruneOptions& options) {
  const char* const where = "prune_by_magnitude";
  require_fraction(where, "fraction", fraction);
  if (options.block.rows < 1 || options.block.columns < 1) {
    throw Error(where, "blocks of ", options.block.rows, " x ", options.block.columns,
                ": expected 1 or more of both");
  }
  std::vector<Target<T>> chosen = targets(model, options.match, where);
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    add_candidates(chosen[i], i, options.block, candidates);
    const bool last = i + 1 == chosen.size();
    if (options.ranking == Ranking::global && !last) continue;
    mark_smallest(chosen, candidates, fraction, options.block);
    candidates.clear();
  }
  return apply(chosen);
}

template <class T> Pruned prune_n_of_m(nn::Module<T>& model, Index n, Index m, const std::string& match) {
  const char* const where = "prune_n_of_m";
  if (m < 1 || n < 0 || n > m) throw Error(where, n, " of ", m, ": expected 0 <= n <= m, and m at least 1");
  std::vector<Target<T>> chosen = targets(model, match, where);
  for (Target<T>& target : chosen) {
    const Shape& shape = target.value.shape();
    if (shape.columns() % m != 0) {
      throw Error(where, "'", target.name, "' is ", shape, ": expected rows whose length ", m, " divides");
    }
    for (Index begin = 0; begin < shape.size(); begin += m) mark_run(target, begin, n, m);
  }
  return apply(chosen);
}

template <class T> Index drop_and_grow(nn::Module<T>& model, double fraction, const std::string& match) {
  const char* const where = "drop_and_grow";
  require_fraction(where, "fraction", fraction);
  std::vector<Exchange<T>> exchanges;
  for (const Target<T>& target : targets(model, match, where)) {
    if (target.parameter->parametrization() != nullptr || target.parameter->factor_of() != nullptr) {
      throw Error(where, "'", target.name, "' is ",
                  target.parameter->factor_of() != nullptr ? "a factor" : "computed from factors",
                  ": expected a plain parameter");
    }
    exchanges.push_back(exchange(target, fraction));
  }
  Index grown = 0;
  for (const Exchange<T>& exchange : exchanges) {
    const Shape& shape = exchange.parameter->shape();
    exchange.parameter->prune(Mask::frozen(shape, exchange.lost));
    exchange.parameter->thaw(Mask::free(shape, exchange.grown));
    grown += static_cast<Index>(exchange.grown.size());
  }
  return grown;
}

#define TAPER_INSTANTIATE(T)                                                       \
  template Pruned prune_by_magnitude(nn::Module<T>&, double, const PruneOptions&); \
  template Pruned prune_n_of_m(nn::Module<T>&, Index, Index, const std::string&);  \
  template Index drop_and_grow(nn::Module<T>&, double, const std::string&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
