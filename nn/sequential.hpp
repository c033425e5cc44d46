#pragma once

#include <memory>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

/// Modules one after the other, named by their positions.
template <class T = float> class Sequential : public Module<T> {
 public:
  Sequential() = default;
  template <class... Modules>
  requires(sizeof...(Modules) > 0 && (std::derived_from<Modules, Module<T>> && ...) &&
           !(sizeof...(Modules) == 1 &&
             (std::same_as<Modules, Sequential> && ...))) explicit Sequential(Modules... modules) {
    (push_back(std::move(modules)), ...);
  }

  template <std::derived_from<Module<T>> M> void push_back(M module) {
    parts_.push_back({std::to_string(parts_.size()), std::make_unique<Held<M>>(std::move(module))});
  }
  /// A copy of a part of another chain. Throws Error when there is no such part.
  void push_back_copy(const Sequential& other, std::size_t index) {
    parts_.push_back({std::to_string(parts_.size()), other.part(index).held->copy()});
  }

  std::size_t size() const { return parts_.size(); }
  /// Throws Error when there is no such part.
  Module<T>& operator[](std::size_t index) { return part(index).held->get(); }
  const Module<T>& operator[](std::size_t index) const { return part(index).held->get(); }

  Var<T> forward(Var<T> x) const override {
    for (const Part& part : parts_) x = part.held->get()(x);
    return x;
  }
  void members(Members<T>& m) override {
    for (Part& part : parts_) m(part.name, part.held->get());
  }
  std::string describe() const override { return "Sequential"; }

 private:
  // A module of any type, copied as what it is.
  struct Holder {
    virtual ~Holder() = default;
    virtual Module<T>& get() = 0;
    virtual std::unique_ptr<Holder> copy() const = 0;
  };
  template <class M> struct Held : Holder {
    explicit Held(M m) : module(std::move(m)) {}
    Module<T>& get() override { return module; }
    std::unique_ptr<Holder> copy() const override { return std::make_unique<Held>(module); }
    M module;
  };
  struct Part {
    Part(std::string n, std::unique_ptr<Holder> h) : name(std::move(n)), held(std::move(h)) {}
    Part(const Part& other) : name(other.name), held(other.held->copy()) {}
    Part(Part&&) noexcept = default;
    Part& operator=(Part other) noexcept {
      name = std::move(other.name);
      held = std::move(other.held);
      return *this;
    }
    std::string name;
    std::unique_ptr<Holder> held;
  };
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
