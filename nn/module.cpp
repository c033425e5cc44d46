#include <taper/instantiate.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/module.hpp>

#include <fnmatch.h>

#include <algorithm>
#include <unordered_set>

namespace taper::nn {
namespace {

void require_depth(int depth) {
  if (depth > max_depth) {
    throw Error("nn", "modules nested more than ", max_depth, " deep: expected a flatter model");
  }
}

/// Walks over a model in the order of its visits, each part once. It leaves out what has no function.
template <class T> class Walk : public Visitor<T> {
 public:
  std::function<void(const std::string&, const Parameter<T>&)> on_parameter;
  std::function<void(const std::string&, const Buffer<T>&)> on_buffer;
  std::function<void(const std::string&, const Module<T>&)> on_module;

  void run(const Module<T>& module) {
    seen_.insert(&module);
    enter("", module);
  }

  void operator()(std::string_view name, const Parameter<T>& parameter) override {
    const std::string path = note(name);
    if (seen_.insert(&parameter).second && on_parameter) on_parameter(path, parameter);
  }
  void operator()(std::string_view name, const Buffer<T>& buffer) override {
    const std::string path = note(name);
    if (seen_.insert(&buffer).second && on_buffer) on_buffer(path, buffer);
  }
  void operator()(std::string_view name, const Module<T>& module) override {
    const std::string path = note(name);
    if (seen_.insert(&module).second) enter(path, module);
  }

 private:
  void enter(const std::string& path, const Module<T>& module) {
    require_depth(++depth_);
    if (on_module) on_module(path, module);
    std::string outer = std::exchange(path_, path);
    module.visit(*this);
    path_ = std::move(outer);
    --depth_;
  }
  std::string note(std::string_view name) {
    std::string path = path_.empty() ? std::string(name) : path_ + '.' + std::string(name);
    if (!paths_.insert(path).second) {
      throw Error("nn", "two parts named '", path, "': expected another name for each in visit()");
    }
    return path;
  }

  std::string path_;  // of the module that is visited
  std::unordered_set<std::string> paths_;
  std::unordered_set<const void*> seen_;
  int depth_ = 0;
};

/// Gives all parts of a model their names on a tape. Memory is what the tape has: a model that is recorded
/// anew in every step does not allocate.
template <class T> class NameParts : public Visitor<T> {
 public:
  NameParts(Names& names, Names::Id outer) : names_(names), outer_(outer) {}

  void operator()(std::string_view name, const Parameter<T>& parameter) override {
    const Names::Id own = names_.add(name, outer_);
    if (names_.name_object(&parameter, own)) parameter.name_factors(names_, own);
  }
  void operator()(std::string_view name, const Buffer<T>& buffer) override {
    names_.name_object(&buffer, names_.add(name, outer_));
  }
  void operator()(std::string_view name, const Module<T>& module) override {
    const Names::Id own = names_.add(name, outer_);
    if (!names_.name_object(&module, own)) return;
    require_depth(++depth_);
    const Names::Id before = std::exchange(outer_, own);
    module.visit(*this);
    outer_ = before;
    --depth_;
  }

 private:
  Names& names_;
  Names::Id outer_;
  int depth_ = 1;
};

}  // namespace

template <class T> std::vector<Var<T>> Module<T>::record(std::span<const Var<T>>) const {
  throw Error("nn", describe(), " does not say how it computes: expected a Layer, or a module with record()");
}

template <class T>
void Module<T>::for_modules(const std::function<void(const std::string&, const Module<T>&)>& f) const {
  Walk<T> walk;
  walk.on_module = f;
  walk.run(*this);
}

template <class T>
void Module<T>::for_parameters(const std::function<void(const std::string&, const Parameter<T>&)>& f) const {
  Walk<T> walk;
  walk.on_parameter = f;
  walk.run(*this);
}

template <class T>
void Module<T>::for_buffers(const std::function<void(const std::string&, const Buffer<T>&)>& f) const {
  Walk<T> walk;
  walk.on_buffer = f;
  walk.run(*this);
}

// What a module that may be changed shows of itself may be changed, too.

template <class T> void Module<T>::for_modules(const std::function<void(const std::string&, Module<T>&)>& f) {
  std::as_const(*this).for_modules(
      [&](const std::string& name, const Module<T>& part) { f(name, const_cast<Module<T>&>(part)); });
}

template <class T>
void Module<T>::for_parameters(const std::function<void(const std::string&, Parameter<T>&)>& f) {
  std::as_const(*this).for_parameters(
      [&](const std::string& name, const Parameter<T>& part) { f(name, const_cast<Parameter<T>&>(part)); });
}

template <class T> void Module<T>::for_buffers(const std::function<void(const std::string&, Buffer<T>&)>& f) {
  std::as_const(*this).for_buffers(
      [&](const std::string& name, const Buffer<T>& part) { f(name, const_cast<Buffer<T>&>(part)); });
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

template <class T> Var<T> Layer<T>::operator()(Var<T> x) const {
  const ModuleScope<T> scope(x.tape(), *this);
  return forward(x);
}

template <class T> std::vector<Var<T>> Layer<T>::record(std::span<const Var<T>> inputs) const {
  if (inputs.size() != 1) {
    throw Error("nn", this->describe(), " with ", inputs.size(), " inputs: expected one, as it is a layer");
  }
  return {(*this)(inputs[0])};
}

template <class T>
ModuleScope<T>::ModuleScope(Tape<T>& tape, const Module<T>& module)
    : names_(tape.names()), outermost_(!names_.has_objects()), scope_(tape, name_of(tape, module)) {}

template <class T> Names::Id ModuleScope<T>::name_of(Tape<T>& tape, const Module<T>& module) {
  Names& names = tape.names();
  if (!names.has_objects()) {
    try {
      names.name_object(&module, tape.scope());
      NameParts<T> name_parts(names, tape.scope());
      module.visit(name_parts);
    } catch (...) {
      names.forget_objects();
      throw;
    }
  }
  const auto [name, known] = names.find(&module);
  if (known) return name;
  const std::string layer = names.path(tape.scope());
  throw Error("nn", module.describe(), ", which ", layer.empty() ? "a module" : "layer '" + layer + "'",
              " computes with and no module names: expected a module that names it in visit()");
}

template <class T> void detail::require_room(const Layer<T>& layer) {
  layer.for_modules([](const std::string&, const Module<T>&) {});  // throws where it is too deep
}

template <class T> Var<T> record_one(const Module<T>& model, Var<T> x, const char* where) {
  if (const auto* layer = dynamic_cast<const Layer<T>*>(&model)) return (*layer)(x);
  const ModuleScope<T> scope(x.tape(), model);
  const std::vector<Var<T>> outputs = model.record({&x, 1});
  if (outputs.size() == 1) return outputs[0];
  throw Error(where, model.describe(), " with ", outputs.size(), " outputs: expected one");
}

TAPER_INSTANTIATE_CLASS(Module)
TAPER_INSTANTIATE_CLASS(Layer)
TAPER_INSTANTIATE_CLASS(ModuleScope)
#define TAPER_INSTANTIATE(T)                           \
  template void detail::require_room(const Layer<T>&); \
  template Var<T> record_one(const Module<T>&, Var<T>, const char*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::nn
