#pragma once

#include <algorithm>
#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <taper/autodiff/structure.hpp>
#include <taper/nn/parametrization.hpp>

namespace taper::nn {

/// The name that a parameter or buffer of this shape has on a tape: the one that `visit` of the module gives
/// it whose recording this is, or outside of any the word for its kind. Throws Error when that module does
/// not name it: it would be neither trained nor saved.
template <class T> Names::Id name_on(Tape<T>& tape, const void* object, const char* kind, const Shape& shape);

/// The shape of what is kept of a tensor.
Shape shape_of(const KeptAxes& kept, const Shape& shape);
/// Copies the entries that are kept.
template <class T> void gather(View<const T> from, const KeptAxes& kept, View<T> to);

/// A tensor that a module learns. Its elements live in a block: one of its own at first, later a piece of the
/// one that all parameters of the model share. With a parametrization it has no elements, but factors, which
/// are parameters again. Copying a parameter copies its elements.
template <class T> class Parameter {
 public:
  explicit Parameter(const Shape& shape = {});
  Parameter(const Parameter& other);
  /// The same elements and mask in another scalar. Throws Error for a parameter that is computed from
  /// factors.
  template <class U>
  requires(!std::same_as<T, U>) explicit Parameter(const Parameter<U>& other) : Parameter(other.shape()) {
    std::transform(other.value().begin(), other.value().end(), value().begin(),
                   [](U element) { return static_cast<T>(element); });
    freeze(other.mask());
  }
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(const Parameter& other);
  Parameter& operator=(Parameter&& other) noexcept;
  ~Parameter() { retire(); }

  const Shape& shape() const { return shape_; }
  /// The elements, to read or write. Throws Error for a parameter that is computed from factors.
  View<T> value();
  View<const T> value() const;
  /// Where a backward pass leaves the gradient. Throws Error like value().
  View<const T> gradient() const;
  /// A copy of the value, computed from the factors if there are any.
  Tensor<T> materialize() const;

  /// The parameter on a tape: a leaf, or computed from its factors, once per recording. Its name there is the
  /// one that `visit` gives it. Throws Error in the recording of a module that does not name it.
  Var<T> bind(Tape<T>& tape) const;

  /// Replaces the elements by factors that compute to them, and holds what is held. Throws Error when there
  /// are factors already, for a parametrization that does not have a name for each factor or computes another
  /// shape, and for a mask that the factors cannot hold; nothing has changed then.
  void parametrize(std::shared_ptr<const Parametrization<T>> parametrization);
  /// Computes the value and keeps it in place of the factors; without factors, does nothing.
  void collapse();
  const Parametrization<T>* parametrization() const { return parametrization_.get(); }
  /// The parametrization that this is a factor of; null for one that stands for itself.
  const std::shared_ptr<const Parametrization<T>>& factor_of() const { return factor_of_; }
  std::vector<Parameter>& factors() { return factors_; }
  const std::vector<Parameter>& factors() const { return factors_; }

  /// Which entries an optimizer may move; all of them at first. Of a parameter with factors, those whose
  /// product can still change.
  Mask mask() const;
  /// Holds the entries that the mask has frozen, bit for bit at the value they have; those it has free stay
  /// as they are. With factors, all factors of an entry are held. Throws Error for a mask of another shape,
  /// and for entries that the parametrization cannot hold by themselves.
  void freeze(const Mask& mask);
  void freeze() { freeze(Mask::all_frozen(shape_)); }
  /// Sets the entries that the mask has frozen to zero and holds them there. Throws Error like freeze.
  void prune(const Mask& mask);
  void prune() { prune(Mask::all_frozen(shape_)); }
  /// Lets the entries that the mask has free move again. A factor that a held entry needs stays held.
  void thaw(const Mask& mask);
  void thaw() { thaw(Mask::all_free(shape_)); }

  /// Calls f(path, parameter) for this parameter, or for the factors that stand for it.
  void for_leaves(const std::string& path, const std::function<void(const std::string&, Parameter&)>& f);
  void for_leaves(const std::string& path,
                  const std::function<void(const std::string&, const Parameter&)>& f) const;
  /// Gives its factors, and theirs, their names inside its own on a tape.
  void name_factors(Names& names, Names::Id own) const;

  const std::shared_ptr<Block<T>>& block() const { return block_; }
  Index offset() const { return offset_; }
  /// Keeps the given indices of each axis, with their masks; of a parameter with factors, those of each
  /// factor. `kept` is asked for this parameter and every factor. Throws Error for a parametrization that
  /// cannot be cut.
  void cut(const std::function<KeptAxes(const Parameter&)>& kept);

  /// Moves the elements to a place in another block. Tapes follow.
  void move_to(const std::shared_ptr<Block<T>>& block, Index offset);

 private:
  void require_elements(const char* where) const;
  void mark(Index position, bool frozen);
  std::vector<Mask> factor_entries_of(const Mask& entries) const;
  /// Tells those who remember the place of the elements that they are no longer the model's.
  void retire() noexcept;

  std::uint64_t id_;  // of what is computed from factors, on tapes
  Shape shape_;
  std::shared_ptr<Block<T>> block_;
  Index offset_ = 0;
  std::shared_ptr<const Parametrization<T>> factor_of_, parametrization_;
  std::vector<Parameter> factors_;
  std::vector<std::string> factor_names_;
};

/// The parameters of a model as an optimizer sees them: named pieces of one block.
template <class T> class Parameters {
 public:
  struct Entry {
    std::string name;
    Index offset;
    Shape shape;
    std::shared_ptr<const Parametrization<T>> factor_of = nullptr;
  };

  /// Lays these parameters out one after the other in a block, unless they already are.
  explicit Parameters(const std::vector<std::pair<std::string, Parameter<T>*>>& leaves);

  const std::vector<Entry>& entries() const& { return entries_; }
  std::vector<Entry> entries() && { return std::move(entries_); }  // of a temporary, as in a loop
  /// Throws Error naming the known ones.
  const Entry& entry(std::string_view name) const;
  /// How many elements there are in all.
  Index count() const;
  View<T> value(const Entry& entry) const { return {block_->values.data() + entry.offset, entry.shape}; }
  View<T> gradient(const Entry& entry) const {
    return {block_->gradients.data() + entry.offset, entry.shape};
  }
  /// Throws Error, in the name of `where`, for a parameter on the tape that is not among these, and would be
  /// neither trained nor saved.
  void require_all_of(const Tape<T>& tape, const char* where) const;
  const std::shared_ptr<Block<T>>& block() const { return block_; }
  /// The version of the block that these places belong to.
  std::uint64_t version() const { return version_; }

 private:
  std::shared_ptr<Block<T>> block_;
  std::uint64_t version_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace taper::nn
