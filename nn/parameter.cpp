#include <taper/nn/parameter.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>

#include <taper/instantiate.hpp>

namespace taper::nn {
namespace {

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

template <class T>
Names::Id name_on(Tape<T>& tape, const void* object, const char* kind, const Shape& shape) {
  if (const auto [name, known] = tape.names().find(object); known) return name;
  if (!tape.names().has_objects()) return tape.names().add(kind, tape.scope());
  const std::string layer = tape.names().path(tape.scope());
  throw Error("nn", "a ", kind, " ", shape, " that ", layer.empty() ? "a module" : "layer '" + layer + "'",
              " computes with and no module names: expected a module that names it in visit()");
}

template <class T>
Parameter<T>::Parameter(const Shape& shape)
    : id_(next_id()), shape_(shape), block_(std::make_shared<Block<T>>(shape.size())) {}

template <class T>
Parameter<T>::Parameter(const Parameter& other)
    : id_(next_id()),
      shape_(other.shape_),
      factor_of_(other.factor_of_),
      parametrization_(other.parametrization_),
      factors_(other.factors_),
      factor_names_(other.factor_names_) {
  if (parametrization_) return;
  block_ = std::make_shared<Block<T>>(shape_.size());
  const View<const T> from = other.value();
  std::copy(from.begin(), from.end(), block_->values.data());
  std::copy_n(other.block_->frozen.data() + other.offset_, shape_.size(), block_->frozen.data());
}

template <class T> Parameter<T>& Parameter<T>::operator=(const Parameter& other) {
  return *this = Parameter(other);
}

template <class T> Parameter<T>& Parameter<T>::operator=(Parameter&& other) noexcept {
  if (this == &other) return *this;
  retire();
  id_ = other.id_;
  shape_ = other.shape_;
  block_ = std::move(other.block_);
  offset_ = other.offset_;
  factor_of_ = other.factor_of_;
  parametrization_ = std::move(other.parametrization_);
  factors_ = std::move(other.factors_);
  factor_names_ = std::move(other.factor_names_);
  return *this;
}

template <class T> void Parameter<T>::require_elements(const char* where) const {
  if (parametrization_) {
    throw Error(where, "a parameter ", shape_,
                " that is computed from factors: expected its factors or materialize()");
  }
}

template <class T> View<T> Parameter<T>::value() {
  require_elements("value");
  return {block_->values.data() + offset_, shape_};
}

template <class T> View<const T> Parameter<T>::value() const {
  require_elements("value");
  return {block_->values.data() + offset_, shape_};
}

template <class T> View<const T> Parameter<T>::gradient() const {
  require_elements("gradient");
  return {block_->gradients.data() + offset_, shape_};
}

template <class T> Tensor<T> Parameter<T>::materialize() const {
  if (!parametrization_) return Tensor<T>(value());
  Tape<T> tape;
  return Tensor<T>(bind(tape).value());
}

template <class T> Var<T> Parameter<T>::bind(Tape<T>& tape) const {
  const Names::Id name = name_on(tape, this, "parameter", shape_);
  if (!parametrization_) return tape.parameter(block_, offset_, shape_, name);
  return tape.memoize(id_, [&] {
    const typename Tape<T>::Scope scope(tape, name);
    // On the stack: recording again every step must not allocate.
    std::array<Var<T>, max_factors> factors;
    for (std::size_t i = 0; i < factors_.size(); ++i) factors[i] = factors_[i].bind(tape);
    return parametrization_->compute(std::span(factors.data(), factors_.size()));
  });
}

template <class T> void Parameter<T>::name_factors(Names& names, Names::Id own) const {
  for (std::size_t i = 0; i < factors_.size(); ++i) {
    const Names::Id name = names.add(factor_names_[i], own);
    names.name_object(&factors_[i], name);
    factors_[i].name_factors(names, name);
  }
}

template <class T> void Parameter<T>::retire() noexcept {
  if (!block_) return;
  ++block_->version;
  std::fill_n(block_->frozen.data() + offset_, shape_.size(), Block<T>::gone);
}

template <class T> void Parameter<T>::parametrize(std::shared_ptr<const Parametrization<T>> parametrization) {
  require_elements("parametrize");
  const std::vector<Tensor<T>> start = parametrization->decompose(value());
  if (start.empty() || start.size() > max_factors || start.size() != parametrization->factor_names().size()) {
    throw Error("parametrize", start.size(), " factors and ", parametrization->factor_names().size(),
                " names for them: expected a name for each of 1 to ", max_factors);
  }
  Parameter computed(shape_);  // takes the place of this one when all has gone well
  computed.parametrization_ = std::move(parametrization);
  computed.factor_names_ = computed.parametrization_->factor_names();
  computed.factor_of_ = factor_of_;
  computed.block_.reset();
  for (const Tensor<T>& factor : start) {
    Parameter leaf(factor.shape());
    std::copy(factor.begin(), factor.end(), leaf.value().begin());
    leaf.factor_of_ = computed.parametrization_;
    computed.factors_.push_back(std::move(leaf));
  }
  Tape<T> tape;
  const Shape shape = computed.bind(tape).shape();
  if (shape != shape_) {
    throw Error("parametrize", "a parametrization that computes ", shape, ": expected ", shape_);
  }
  // Zeros that are held are pruned, so that they do not hold the gate of their whole group.
  const Mask held = mask(), zero = Mask::frozen(shape_, [&](Index i) { return value()[i] == 0; });
  if (!(held | zero).all_free()) computed.prune(held | zero);
  computed.freeze(held | ~zero);
  *this = std::move(computed);
}

template <class T> void Parameter<T>::collapse() {
  if (!parametrization_) return;
  const Tensor<T> value = materialize();
  const Mask held = mask();
  for (Parameter& factor : factors_) {
    factor.collapse();
  }
  factors_.clear();
  factor_names_.clear();
  parametrization_.reset();
  offset_ = 0;
  block_ = std::make_shared<Block<T>>(shape_.size());
  std::copy(value.begin(), value.end(), block_->values.data());
  freeze(held);
}

Shape shape_of(const KeptAxes& kept, const Shape& shape) {
  Shape result = shape;
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    result = result.with(axis, static_cast<Index>(kept[static_cast<std::size_t>(axis)].size()));
  }
  return result;
}

template <class T> void gather(View<const T> from, const KeptAxes& kept, View<T> to) {
  const Shape &shape = from.shape(), &smaller = to.shape();
  for (Index i = 0; i < smaller.size(); ++i) {
    Index position = 0, rest = i, stride = 1;
    for (Index axis = shape.rank(); axis-- > 0; rest /= smaller[axis], stride *= shape[axis]) {
      position +=
          kept[static_cast<std::size_t>(axis)][static_cast<std::size_t>(rest % smaller[axis])] * stride;
    }
    to[i] = from[position];
  }
}

template <class T> void Parameter<T>::cut(const std::function<KeptAxes(const Parameter&)>& kept) {
  const KeptAxes axes = kept(*this);
  const Shape shape = shape_of(axes, shape_);
  if (!parametrization_) {
    Parameter smaller(shape);
    smaller.factor_of_ = factor_of_;
    gather<T>(std::as_const(*this).value(), axes, smaller.value());
    gather<std::uint8_t>({block_->frozen.data() + offset_, shape_}, axes,
                         {smaller.block_->frozen.data(), shape});
    *this = std::move(smaller);
    return;
  }
  const auto parametrization = parametrization_->cut(shape_, axes);
  if (parametrization == nullptr) {
    throw Error("cut", "a parameter ", shape_,
                " whose parametrization is whole: expected one that can be cut");
  }
  for (Parameter& factor : factors_) {
    factor.cut(kept);
    factor.factor_of_ = parametrization;
  }
  parametrization_ = parametrization;
  shape_ = shape;
  id_ = next_id();  // no tape has computed this
}

template <class T> Mask Parameter<T>::mask() const {
  if (!parametrization_) {
    const std::uint8_t* const frozen = block_->frozen.data() + offset_;
    return Mask::frozen(shape_, [&](Index i) { return frozen[i] != 0; });
  }
  std::vector<Tensor<T>> values;
  std::vector<MaskedFactor<T>> factors;
  for (const Parameter& factor : factors_) {
    values.push_back(factor.materialize());
    factors.push_back({values.back(), factor.mask()});
  }
  return parametrization_->trainable_entries(shape_, factors);
}

template <class T> void Parameter<T>::mark(Index position, bool frozen) {
  block_->frozen.data()[offset_ + position] = frozen;
}

template <class T> std::vector<Mask> Parameter<T>::factor_entries_of(const Mask& entries) const {
  std::vector<Shape> shapes;
  for (const Parameter& factor : factors_) shapes.push_back(factor.shape());
  return parametrization_->factor_entries_of(entries, shapes);
}

template <class T> void Parameter<T>::freeze(const Mask& mask) {
  mask.require(shape_, "freeze");
  if (mask.all_free()) return;
  if (!parametrization_) {
    for (const Index position : (~mask).free_positions()) mark(position, true);
    ++block_->mask_version;
    return;
  }
  const Mask wanted = this->mask() & mask;
  Parameter trial = *this;  // nothing is held by a call that throws
  const std::vector<Mask> needed = factor_entries_of(~mask);
  for (std::size_t i = 0; i < factors_.size(); ++i) trial.factors_[i].freeze(~needed[i]);
  if (trial.mask() != wanted) {
    throw Error("freeze", (~mask).count_free(), " of ", mask.size(),
                " entries that are computed together: expected all of them");
  }
  for (std::size_t i = 0; i < factors_.size(); ++i) factors_[i].freeze(~needed[i]);
}

template <class T> void Parameter<T>::prune(const Mask& mask) {
  mask.require(shape_, "prune");
  if (mask.all_free()) return;
  const Mask pruned = ~mask;
  if (!parametrization_) {
    for (const Index position : pruned.free_positions()) value()[position] = 0;
    return freeze(mask);
  }
  // Where no entry needs a factor that stays, the first goes to zero. The others are held as they are, so
  // that the product can move again when it is thawed: two factors at zero have no gradient.
  const std::vector<Mask> left = factor_entries_of(mask), gone = factor_entries_of(pruned);
  const auto prune_factors = [&](Parameter& parameter) {
    parameter.factors_[0].prune(left[0] | ~gone[0]);
    for (std::size_t i = 1; i < left.size(); ++i) parameter.factors_[i].freeze(left[i] | ~gone[i]);
  };
  Parameter trial = *this;
  prune_factors(trial);
  const Tensor<T> before = materialize(), after = trial.materialize();
  const Mask moving = trial.mask();
  for (Index i = 0; i < shape_.size(); ++i) {
    const bool same = std::memcmp(&after[i], &before[i], sizeof(T)) == 0;
    if (pruned.is_free(i) ? after[i] == 0 && moving.is_frozen(i) : same) continue;
    throw Error("prune", pruned.count_free(), " of ", shape_.size(),
                " entries of a parameter that is not a product: expected one whose factors can be zero");
  }
  prune_factors(*this);
}

template <class T> void Parameter<T>::thaw(const Mask& mask) {
  mask.require(shape_, "thaw");
  if (mask.all_frozen()) return;
  if (!parametrization_) {
    for (const Index position : mask.free_positions()) mark(position, false);
    ++block_->mask_version;
    return;
  }
  const Mask held = ~this->mask() - mask;
  const std::vector<Mask> wanted = factor_entries_of(mask);
  Parameter trial = *this;
  for (std::size_t i = 0; i < factors_.size(); ++i) trial.factors_[i].thaw(wanted[i]);
  const std::vector<Mask> needed = factor_entries_of(held & trial.mask());  // by those who would move
  for (std::size_t i = 0; i < factors_.size(); ++i) factors_[i].thaw(wanted[i] - needed[i]);
}

template <class T>
void Parameter<T>::for_leaves(const std::string& path,
                              const std::function<void(const std::string&, Parameter&)>& f) {
  if (!parametrization_) return f(path, *this);
  for (std::size_t i = 0; i < factors_.size(); ++i) factors_[i].for_leaves(path + '.' + factor_names_[i], f);
}

template <class T>
void Parameter<T>::for_leaves(const std::string& path,
                              const std::function<void(const std::string&, const Parameter&)>& f) const {
  const_cast<Parameter*>(this)->for_leaves(path,
                                           [&](const std::string& name, Parameter& leaf) { f(name, leaf); });
}

template <class T> void Parameter<T>::move_to(const std::shared_ptr<Block<T>>& block, Index offset) {
  const View<const T> from = value();
  std::copy(from.begin(), from.end(), block->values.data() + offset);
  std::copy_n(block_->frozen.data() + offset_, shape_.size(), block->frozen.data() + offset);
  ++block->mask_version;
  block_->moves.push_back({offset_, shape_.size(), block, offset});
  retire();
  block_ = block;
  offset_ = offset;
}

template <class T>
Parameters<T>::Parameters(const std::vector<std::pair<std::string, Parameter<T>*>>& leaves) {
  // Each parameter starts on a cache line. The gaps hold zeros with gradient zero, which every optimizer
  // leaves.
  Index total = 0;
  bool laid_out = !leaves.empty();
  const Index base = leaves.empty() ? 0 : leaves.front().second->offset();
  for (const auto& [name, leaf] : leaves) {
    laid_out &= leaf->block() == leaves.front().second->block() && leaf->offset() == base + total;
    entries_.push_back({name, total, leaf->shape(), leaf->factor_of()});
    total += static_cast<Index>(padded<T>(static_cast<std::size_t>(leaf->shape().size())));
  }
  if (laid_out) {
    block_ = leaves.front().second->block();
    for (Entry& entry : entries_) entry.offset += base;
  } else {
    block_ = std::make_shared<Block<T>>(total);
    for (std::size_t i = 0; i < leaves.size(); ++i) leaves[i].second->move_to(block_, entries_[i].offset);
  }
  version_ = block_->version;
}

template <class T> auto Parameters<T>::entry(std::string_view name) const -> const Entry& {
  std::string known;
  for (const Entry& entry : entries_) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  throw Error("parameters", "no parameter '", name, "': expected one of ", known);
}

template <class T> void Parameters<T>::require_all_of(const Tape<T>& tape, const char* where) const {
  const T* const begin = block_->values.data();
  const T* const end = begin + block_->values.size();
  for (const Node<T>& node : tape.nodes()) {
    const bool is_parameter = node.op == nullptr && node.requires_grad && !node.writable;
    if (!is_parameter || node.shape.size() == 0) continue;
    if (!std::less()(node.value, begin) && std::less()(node.value, end)) continue;
    throw Error(
        where, "parameter '", tape.path(node), "', ", node.shape,
        ", that is computed with and is none of the model's: expected a module that names it in visit()");
  }
}

template <class T> Index Parameters<T>::count() const {
  Index total = 0;
  for (const Entry& entry : entries_) total += entry.shape.size();
  return total;
}

TAPER_INSTANTIATE_CLASS(Parameter)
TAPER_INSTANTIATE_CLASS(Parameters)
#define TAPER_INSTANTIATE(T)                                                    \
  template Names::Id name_on(Tape<T>&, const void*, const char*, const Shape&); \
  template void gather(View<const T>, const KeptAxes&, View<T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE
template void gather(View<const std::uint8_t>, const KeptAxes&, View<std::uint8_t>);

}  // namespace taper::nn
