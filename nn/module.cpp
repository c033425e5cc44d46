#include <fnmatch.h>

#include <algorithm>

#include <taper/nn/module.hpp>

namespace taper::nn {
namespace {

/// Visits the parts of a module and calls a function for each.
template <class T, class OnParameter, class OnModule> class Visitor : public Members<T> {
 public:
  Visitor(OnParameter on_parameter, OnModule on_module)
      : on_parameter_(on_parameter), on_module_(on_module) {}
  void operator()(std::string_view name, Parameter<T>& parameter) override { on_parameter_(name, parameter); }
  void operator()(std::string_view name, Module<T>& module) override { on_module_(name, module); }

 private:
  OnParameter on_parameter_;
  OnModule on_module_;
};

template <class T, class OnParameter, class OnModule>
void visit(Module<T>& module, OnParameter on_parameter, OnModule on_module) {
  Visitor<T, OnParameter, OnModule> visitor(on_parameter, on_module);
  module.members(visitor);
}

std::string join(const std::string& outer, std::string_view name) {
  return outer.empty() ? std::string(name) : outer + '.' + std::string(name);
}

template <class T>
void walk_modules(const std::string& path, Module<T>& module,
                  const std::function<void(const std::string&, Module<T>&)>& f) {
  f(path, module);
  visit<T>(
      module, [](std::string_view, Parameter<T>&) {},
      [&](std::string_view name, Module<T>& part) { walk_modules(join(path, name), part, f); });
}

}  // namespace

template <class T> void Module<T>::for_modules(const std::function<void(const std::string&, Module<T>&)>& f) {
  walk_modules<T>("", *this, f);
}

template <class T>
void Module<T>::for_parameters(const std::function<void(const std::string&, Parameter<T>&)>& f) {
  std::vector<const Parameter<T>*> seen;
  for_modules([&](const std::string& path, Module<T>& module) {
    visit<T>(
        module,
        [&](std::string_view name, Parameter<T>& parameter) {
          if (std::ranges::find(seen, &parameter) != seen.end()) return;
          seen.push_back(&parameter);
          f(join(path, name), parameter);
        },
        [](std::string_view name, Module<T>& part) { part.name_ = name; });
  });
}

template <class T> Parameters<T> Module<T>::parameters() {
  std::vector<std::pair<std::string, Parameter<T>*>> leaves;
  for_parameters([&](const std::string& name, Parameter<T>& parameter) {
    parameter.for_leaves(
        name, [&](const std::string& path, Parameter<T>& leaf) { leaves.emplace_back(path, &leaf); });
  });
  return Parameters<T>(leaves);
}

template <class T>
void Module<T>::for_matching(const std::string& pattern, const char* where,
                             const std::function<void(const std::string&, Parameter<T>&)>& f) {
  const auto matches = [&](const std::string& name) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  };
  std::string known;
  bool any = false;
  for_parameters([&](const std::string& name, Parameter<T>& parameter) {
    known += (known.empty() ? "" : ", ") + name;
    if (matches(name)) {
      any = true;
      return f(name, parameter);
    }
    if (parameter.parametrization() == nullptr) return;
    parameter.for_leaves(name, [&](const std::string& path, Parameter<T>& leaf) {
      known += ", " + path;
      if (!matches(path)) return;
      any = true;
      f(path, leaf);
    });
  });
  if (!any) throw Error(where, "nothing matches '", pattern, "': expected a pattern for some of ", known);
}

// All are tried on copies before the first parameter is changed.
#define TAPER_VERB(verb)                                                                              \
  template <class T> void Module<T>::verb(const std::string& pattern) {                               \
    std::vector<Parameter<T>*> chosen;                                                                \
    for_matching(pattern, #verb, [&](const std::string&, Parameter<T>& p) { chosen.push_back(&p); }); \
    for (const Parameter<T>* parameter : chosen) Parameter<T>(*parameter).verb();                     \
    for (Parameter<T> * parameter : chosen) parameter->verb();                                        \
  }                                                                                                   \
  template <class T> void Module<T>::verb(const std::string& pattern, const Mask& mask) {             \
    std::vector<Parameter<T>*> chosen;                                                                \
    for_matching(pattern, #verb, [&](const std::string& name, Parameter<T>& parameter) {              \
      mask.require(parameter.shape(), #verb, name);                                                   \
      chosen.push_back(&parameter);                                                                   \
    });                                                                                               \
    for (const Parameter<T>* parameter : chosen) Parameter<T>(*parameter).verb(mask);                 \
    for (Parameter<T> * parameter : chosen) parameter->verb(mask);                                    \
  }
TAPER_VERB(freeze)
TAPER_VERB(prune)
TAPER_VERB(thaw)
#undef TAPER_VERB

template <class T> void Module<T>::set_training(bool on) {
  for_modules([on](const std::string&, Module<T>& module) { module.training_ = on; });
}

template <class T> Module<T>::Evaluating::Evaluating(Module& model) {
  model.for_modules([&](const std::string&, Module& part) { before_.emplace_back(&part, part.training_); });
  model.eval();
}

template <class T> Module<T>::Evaluating::~Evaluating() {
  for (const auto& [part, training] : before_) part->training_ = training;
}

template class Module<float>;
template class Module<double>;

}  // namespace taper::nn
