#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <taper/nn/parameter.hpp>

namespace taper::nn {

template <class T> class Module;

/// Shown the parts of a module one after the other, each with its name.
template <class T> class Members {
 public:
  virtual ~Members() = default;
  virtual void operator()(std::string_view name, Parameter<T>& parameter) = 0;
  virtual void operator()(std::string_view name, Module<T>& module) = 0;
};

/// A piece of a model: a function of one variable with parts that learn. A module of your own says which
/// parts it has and how it computes; it is copied and moved like any value.
///
///     struct Residual : nn::Module<float> {
///       nn::Linear<float> fc1{8, 8}, fc2{8, 8};
///       void members(nn::Members<float>& m) override { m("fc1", fc1), m("fc2", fc2); }
///       Var<float> forward(Var<float> x) const override { return x + fc2(relu(fc1(x))); }
///     };
template <class T> class Module {
 public:
  virtual ~Module() = default;

  /// Computes the output, recorded on the tape of x.
  virtual Var<T> forward(Var<T> x) const = 0;
  /// Shows every part to the visitor, always in the same order.
  virtual void members(Members<T>&) {}
  /// As it appears in summaries, for example "Linear(8, 32)".
  virtual std::string describe() const { return "Module"; }

  /// forward(x), in a scope with the module's name.
  Var<T> operator()(Var<T> x) const {
    const typename Tape<T>::Scope scope(x.tape(), name_);
    return forward(x);
  }

  /// All parameters in one block, laid out anew if the structure has changed, with names like "0.weight".
  Parameters<T> parameters();
  /// Every parameter, computed ones included, with its name. One that several modules share is shown once,
  /// under its first name.
  void for_parameters(const std::function<void(const std::string& name, Parameter<T>&)>& f);
  /// This module and all those inside it, with their names; the outermost is "".
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

  /// Training and evaluation mode, for this module and all inside it; training at first.
  void train() { set_training(true); }
  void eval() { set_training(false); }
  bool training() const { return training_; }

  /// While it lives, a model is in evaluation mode; then every module is in the mode that it was in.
  class Evaluating {
   public:
    explicit Evaluating(Module& model);
    ~Evaluating();
    Evaluating(const Evaluating&) = delete;
    Evaluating& operator=(const Evaluating&) = delete;

   private:
    std::vector<std::pair<Module*, bool>> before_;
  };

 private:
  void set_training(bool on);

  std::string name_;  // as given by the module around it
  bool training_ = true;
};

extern template class Module<float>;
extern template class Module<double>;

}  // namespace taper::nn
