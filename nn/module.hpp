#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <taper/nn/buffer.hpp>
#include <taper/nn/parameter.hpp>

namespace taper::nn {

template <class T> class Module;

/// Modules may stand in each other this deep.
inline constexpr int max_depth = 1000;

/// Shown the parts of a module one after the other, each with its name.
template <class T> class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void operator()(std::string_view name, const Parameter<T>& parameter) = 0;
  virtual void operator()(std::string_view name, const Buffer<T>& buffer) = 0;
  virtual void operator()(std::string_view name, const Module<T>& module) = 0;
};

/// A piece of a model, with parts that learn. It says which parts it has, in `visit`, and how it computes, in
/// `record`; it is copied and moved like any value. A Layer computes one variable from one:
///
///     struct Residual : nn::Layer<float> {
///       nn::Linear<float> fc1{8, 8}, fc2{8, 8};
///       void visit(nn::Visitor<float>& v) const override { v("fc1", fc1), v("fc2", fc2); }
///       Var<float> forward(Var<float> x) const override { return x + fc2(relu(fc1(x))); }
///     };
///
/// Nothing here depends on training: whether a recording trains or evaluates belongs to its tape
/// (Tape::training), so that several threads may predict with one model.
template <class T> class Module {
 public:
  using Scalar = T;

  virtual ~Module() = default;

  /// Shows every part to the visitor, always in the same order. A part that is shown twice has its first
  /// name. Parts are members, or owned by members: a model that may be changed may change what it shows.
  virtual void visit(Visitor<T>&) const {}
  /// Computes the outputs, recorded on the tape of the inputs. Throws Error by default.
  virtual std::vector<Var<T>> record(std::span<const Var<T>> inputs) const;
  /// As it appears in summaries, for example "Linear(8, 32)".
  virtual std::string describe() const { return "Module"; }
  /// The place of the bias that goes with one of the module's own weights, whether there is one or not: when
  /// a network is shrunk, constants are put there. Null for a weight that can have none, or is another's.
  virtual const std::optional<Parameter<T>>* bias_of(const Parameter<T>&) const { return nullptr; }

  /// All parameters in one block, as an optimizer needs them, with names like "0.weight". They are laid out
  /// anew if they are not in one yet; tapes follow.
  Parameters<T> parameters();
  /// Every parameter, computed ones included, with its name. One that several modules share is shown once,
  /// under its first name. These throw Error for two parts of one name, and for modules that are nested
  /// deeper than max_depth.
  void for_parameters(const std::function<void(const std::string& name, const Parameter<T>&)>& f) const;
  void for_parameters(const std::function<void(const std::string& name, Parameter<T>&)>& f);
  void for_buffers(const std::function<void(const std::string& name, const Buffer<T>&)>& f) const;
  void for_buffers(const std::function<void(const std::string& name, Buffer<T>&)>& f);
  /// This module and all those inside it, with their names; the outermost is "".
  void for_modules(const std::function<void(const std::string& name, const Module<T>&)>& f) const;
  void for_modules(const std::function<void(const std::string& name, Module<T>&)>& f);

  /// Holds, prunes or lets go again every parameter whose name matches the pattern ("*" stands for anything:
  /// "fc*.bias"), or of one that is computed, the factors whose names do ("*.weight.v"). See
  /// Parameter::freeze, prune, thaw. Throws Error when none matches.
  void freeze(const std::string& pattern = "*");
  void prune(const std::string& pattern);
  void thaw(const std::string& pattern = "*");
  /// The same for the entries of the mask, which must fit every parameter that matches.
  void freeze(const std::string& pattern, const Mask& mask);
  void prune(const std::string& pattern, const Mask& mask);
  void thaw(const std::string& pattern, const Mask& mask);

  /// Calls f for every parameter whose name matches, else for those of its factors that do. Throws Error, in
  /// the name of `where`, when nothing does.
  void for_matching(const std::string& pattern, const char* where,
                    const std::function<void(const std::string& name, Parameter<T>&)>& f);
};

/// A module that computes one variable from one.
template <class T> class Layer : public Module<T> {
 public:
  /// Computes the output, recorded on the tape of x.
  virtual Var<T> forward(Var<T> x) const = 0;
  /// forward(x), in a scope with the layer's name.
  Var<T> operator()(Var<T> x) const;
  /// The same. Throws Error for another number of inputs than one.
  std::vector<Var<T>> record(std::span<const Var<T>> inputs) const override;
};

/// While it lives, what is recorded carries the name of the module. The outermost one names all parts of the
/// model on the tape. Layers open one as they are called; a module with a call of its own can, to see its
/// name in errors. Throws Error for a module inside the outermost one that none of its modules names, and
/// like Module::for_modules.
template <class T> class ModuleScope {
 public:
  ModuleScope(Tape<T>& tape, const Module<T>& module);
  ~ModuleScope() {
    if (outermost_) names_.forget_objects();
  }
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  static Names::Id name_of(Tape<T>& tape, const Module<T>& module);

  Names& names_;
  bool outermost_;
  typename Tape<T>::Scope scope_;
};

/// Records a model of one input and one output. Throws Error for another number of outputs.
template <class T> Var<T> record_one(const Module<T>& model, Var<T> x, const char* where);

}  // namespace taper::nn
