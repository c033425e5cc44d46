#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

template <class T> class Sequential;

namespace detail {

template <class M> inline constexpr bool is_reference = false;
template <class M> inline constexpr bool is_reference<std::reference_wrapper<M>> = true;

/// A layer of another scalar: Linear<float> where a Sequential<double> takes it.
template <class M, class T> struct Rebound {};
template <template <class> class L, class U, class T>
requires(!std::same_as<U, T>) struct Rebound<L<U>, T> {
  using Type = L<T>;
};

template <class M, class T>
concept Convertible = requires {
  typename Rebound<M, T>::Type;
}
&&std::derived_from<typename Rebound<M, T>::Type, Layer<T>>&&
    std::constructible_from<typename Rebound<M, T>::Type, const M&>;

/// Throws Error for a layer whose modules are nested so deep that a chain cannot hold it.
template <class T> void require_room(const Layer<T>& layer);

}  // namespace detail

/// What a Sequential takes: a layer, which it copies or moves; std::ref of one, which it refers to; or a
/// layer of another scalar with a conversion, so that `Sequential<double>(Linear(8, 4))` needs no second
/// `<double>`.
template <class M, class T>
concept Chainable = std::derived_from<M, Layer<T>> || detail::Convertible<M, T> ||
    (detail::is_reference<M>&& requires(M m) { static_cast<Layer<T>&>(m.get()); });

/// Layers one after the other, named by their positions.
template <class T = float> class Sequential : public Layer<T> {
 public:
  Sequential() = default;
  template <class... Layers>
  requires(sizeof...(Layers) > 0 && (Chainable<Layers, T> && ...) &&
           !(sizeof...(Layers) == 1 &&
             (std::same_as<Layers, Sequential> && ...))) explicit Sequential(Layers... layers) {
    parts_.reserve(sizeof...(Layers));
    (push_back(std::move(layers)), ...);
  }

  /// Appends a layer, named by its position unless a name is given. One that is held by reference
  /// (`std::ref(layer)`) must outlive this and its copies, and is the same in all of them. Throws Error for
  /// modules that are nested deeper than max_depth.
  template <Chainable<T> M> void push_back(M layer, std::string name = {}) {
    insert(parts_.size(), std::move(layer), std::move(name));
  }
  /// Puts a layer in front; the names of the others stay.
  template <Chainable<T> M> void push_front(M layer, std::string name) {
    insert(0, std::move(layer), std::move(name));
  }
  /// A copy of a part of another chain. Throws Error when there is no such part.
  void push_back_copy(const Sequential& other, std::size_t index, std::string name = {}) {
    if (name.empty()) name = std::to_string(parts_.size());
    parts_.push_back({std::move(name), other.part(index).box->copy()});
  }

  std::size_t size() const { return parts_.size(); }
  /// Throws Error when there is no such part.
  Layer<T>& operator[](std::size_t index) { return part(index).box->get(); }
  const Layer<T>& operator[](std::size_t index) const { return part(index).box->get(); }
  /// The name of a part; throws Error like [].
  const std::string& name(std::size_t index) const { return part(index).name; }

  Var<T> forward(Var<T> x) const override {
    for (const Part& part : parts_) x = part.box->get()(x);
    return x;
  }
  void visit(Visitor<T>& v) const override {
    for (const Part& part : parts_) v(part.name, part.box->get());
  }
  std::string describe() const override { return "Sequential"; }

 private:
  // A layer of any type, copied as what it is.
  struct ModuleBox {
    virtual ~ModuleBox() = default;
    virtual Layer<T>& get() = 0;
    virtual std::unique_ptr<ModuleBox> copy() const = 0;
  };
  template <class M> struct Value : ModuleBox {
    explicit Value(M m) : module(std::move(m)) {}
    Layer<T>& get() override { return module; }
    std::unique_ptr<ModuleBox> copy() const override { return std::make_unique<Value>(module); }
    M module;
  };
  struct Reference : ModuleBox {
    explicit Reference(Layer<T>& m) : module(&m) {}
    Layer<T>& get() override { return *module; }
    std::unique_ptr<ModuleBox> copy() const override { return std::make_unique<Reference>(*module); }
    Layer<T>* module;
  };
  struct Part {
    Part(std::string n, std::unique_ptr<ModuleBox> b) : name(std::move(n)), box(std::move(b)) {}
    Part(const Part& other) : name(other.name), box(other.box->copy()) {}
    Part(Part&&) noexcept = default;
    Part& operator=(Part other) noexcept {
      name = std::move(other.name);
      box = std::move(other.box);
      return *this;
    }
    std::string name;
    std::unique_ptr<ModuleBox> box;
  };

  template <class M> void insert(std::size_t index, M layer, std::string name) {
    if (name.empty()) name = std::to_string(parts_.size());
    std::unique_ptr<ModuleBox> box;
    if constexpr (detail::is_reference<M>) {
      box = std::make_unique<Reference>(layer.get());
    } else if constexpr (std::derived_from<M, Layer<T>>) {
      box = std::make_unique<Value<M>>(std::move(layer));
    } else {
      using Converted = typename detail::Rebound<M, T>::Type;
      box = std::make_unique<Value<Converted>>(Converted(layer));
    }
    detail::require_room(box->get());
    parts_.emplace(parts_.begin() + static_cast<std::ptrdiff_t>(index), std::move(name), std::move(box));
  }
  const Part& part(std::size_t index) const {
    if (index >= parts_.size()) {
      throw Error("sequential", "part ", index, " of a chain of ", parts_.size(),
                  ": expected one that exists");
    }
    return parts_[index];
  }
  std::vector<Part> parts_;
};

}  // namespace taper::nn
