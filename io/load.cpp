#include <taper/io/load.hpp>

#include <algorithm>
#include <ostream>
#include <set>
#include <utility>

#include <taper/data/quote.hpp>
#include <taper/instantiate.hpp>
#include <taper/io/architecture.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/model_tensors.hpp>

namespace taper::io {
namespace {

using data::quote;

/// A tensor of the model, or a parameter in factors, and where the file has it.
template <class Target> struct Source {
  Target target;
  std::string name, mask;  // in the file; no mask means that all of it is free
};

/// What is loaded from where.
template <class T> struct Plan {
  std::vector<Source<ModelTensor<T>>> tensors;
  std::vector<Source<ModelPart<T>>> dense;
  std::vector<std::string> lacks, has, differs;  // as errors name them, with shapes
  LoadReport report;
};

/// The tensors of the file by what they are called in the model.
std::map<std::string, std::string> names_in_model(const Archive& archive, const Rename& rename) {
  const std::string end = mask_name("");
  std::map<std::string, std::string> names;
  for (const auto& [name, stored] : archive.tensors()) {
    const std::string masked = name.ends_with(end) ? name.substr(0, name.size() - end.size()) : "";
    const bool is_mask = !masked.empty() && archive.contains(masked) && stored.dtype == "BOOL";
    const auto [place, is_new] = names.emplace(is_mask ? mask_name(rename(masked)) : rename(name), name);
    if (!is_new) {
      archive.fail("has ", quote(place->second), " and ", quote(name), ", which are both renamed to ",
                   quote(place->first), ": expected a name for each");
    }
  }
  return names;
}

/// Whether a tensor of this name in the model is where PyTorch's batch norm counts its batches, beside
/// running statistics that the model has. Nothing is computed with it.
bool counts_batches(const std::string& name, const StoredTensor& stored,
                    const std::set<std::string>& expected) {
  const std::string_view end = "num_batches_tracked";
  return name.ends_with(end) && stored.shape.empty() &&
         expected.contains(name.substr(0, name.size() - end.size()) + "running_mean");
}

template <class T>
Plan<T> make_plan(const std::vector<ModelPart<T>>& model, const Archive& archive,
                  const LoadOptions& options) {
  const std::map<std::string, std::string> names = names_in_model(archive, options.rename);
  std::set<std::string> expected, used;
  for (const ModelPart<T>& part : model) {
    for (const ModelTensor<T>& tensor : part.tensors) expected.insert(tensor.name);
  }

  Plan<T> plan;
  const auto take = [&](const auto& target, const Shape& shape, bool has_mask, auto& sources) {
    const std::string& name = names.at(target.name);
    const StoredTensor& stored = archive.tensor(name);
    if (!stored.has_shape(shape)) {
      plan.differs.push_back(
          concatenate(quote(name), " of shape ", stored.shape_text(), " instead of ", shape));
    }
    sources.push_back({target, name, ""});
    used.insert(name);
    const auto mask = names.find(mask_name(target.name));
    if (mask == names.end() || !has_mask || expected.contains(mask->first)) return;
    if (options.masks) sources.back().mask = mask->second;
    used.insert(mask->second);
  };
  for (const ModelPart<T>& part : model) {
    const auto has = [&](const auto& named) { return names.contains(named.name); };
    if (std::ranges::none_of(part.tensors, has) && has(part) && !expected.contains(part.name)) {
      take(part, part.parameter->shape(), true, plan.dense);
      continue;
    }
    for (const ModelTensor<T>& tensor : part.tensors) {
      if (has(tensor)) {
        take(tensor, tensor.value.shape(), tensor.frozen != nullptr, plan.tensors);
      } else {
        plan.report.missing.push_back(tensor.name);
        plan.lacks.push_back(concatenate(quote(tensor.name), " (", tensor.value.shape(), ')'));
      }
    }
  }
  const std::set<std::string> constants = constants_in(archive);
  for (const auto& [in_model, name] : names) {
    const StoredTensor& stored = archive.tensor(name);
    if (used.contains(name) || constants.contains(name) || counts_batches(in_model, stored, expected))
      continue;
    plan.report.surplus.push_back(name);
    plan.has.push_back(concatenate(quote(name), " (", stored.shape_text(), ')'));
  }
  return plan;
}

/// The first few of the list, after a verb; nothing of an empty one.
void add_clause(std::vector<std::string>& clauses, const char* verb, const std::vector<std::string>& list) {
  if (list.empty()) return;
  constexpr std::size_t most = 10;
  std::string text = verb;
  for (std::size_t i = 0; i < std::min(list.size(), most); ++i) text += (i == 0 ? " " : ", ") + list[i];
  if (list.size() > most) text += ", ... (" + std::to_string(list.size()) + " in all)";
  clauses.push_back(std::move(text));
}

template <class T> void require_fit(const Plan<T>& plan, const Archive& archive, const LoadOptions& options) {
  std::vector<std::string> clauses;
  if (!options.partial) {
    add_clause(clauses, "lacks", plan.lacks);
    add_clause(clauses, "has", plan.has);
  }
  const char* const expected =
      clauses.empty() ? "the shapes of the model" : "the tensors of the model and no other";
  add_clause(clauses, "has", plan.differs);
  if (!clauses.empty()) {
    std::string text = clauses[0];
    for (std::size_t i = 1; i < clauses.size(); ++i) {
      text += (i + 1 < clauses.size() ? ", " : " and ") + clauses[i];
    }
    archive.fail(text, ": expected ", expected);
  }
  const bool is_disjoint = plan.tensors.empty() && plan.dense.empty();
  if (is_disjoint && !plan.lacks.empty() && !plan.has.empty()) {
    add_clause(clauses, "has", plan.has);
    add_clause(clauses, "the model", plan.lacks);
    archive.fail(clauses[0], " and ", clauses[1], ": expected a tensor that both have");
  }
}

/// The bytes of a mask, 1 where an entry is free; null for none.
const char* free_entries(const Archive& archive, const std::string& name, const Shape& shape) {
  if (name.empty()) return nullptr;
  const char* const free = archive.data(archive.require(name, "BOOL", shape));
  const char* const end = free + shape.size();
  const char* const wrong = std::find_if(free, end, [](char c) { return c & ~1; });
  if (wrong != end) {
    archive.fail("has a byte ", int{static_cast<unsigned char>(*wrong)}, " in ", quote(name),
                 ": expected 0 or 1");
  }
  return free;
}

/// Gives `made` the factors that `model` has, and these theirs.
template <class T> void parametrize_alike(nn::Parameter<T>& made, const nn::Parameter<T>& model) {
  if (model.parametrization() == nullptr) return;
  made.parametrize(model.factors()[0].factor_of());
  for (std::size_t i = 0; i < model.factors().size(); ++i) {
    const Shape &found = made.factors()[i].shape(), &expected = model.factors()[i].shape();
    if (found != expected) throw Error("load", "a factor ", found, ": expected ", expected);
    parametrize_alike(made.factors()[i], model.factors()[i]);
  }
}

/// A parameter with the elements of the file, in factors as in the model.
template <class T> nn::Parameter<T> decompose(const Archive& archive, const Source<ModelPart<T>>& source) {
  const nn::Parameter<T>& model = *source.target.parameter;
  const Shape& shape = model.shape();
  nn::Parameter<T> made(shape);
  const StoredTensor& stored = archive.tensor(source.name);
  convert(stored.dtype, archive.data(stored), shape.size(), made.value().data());
  try {
    if (const char* const free = free_entries(archive, source.mask, shape)) {
      made.freeze(Mask::free(shape, [&](Index i) { return free[i] != 0; }));
    }
    parametrize_alike(made, model);
  } catch (const Error& error) {
    archive.fail("has ", quote(source.name),
                 ", which does not decompose into the factors of the model: ", error.what());
  }
  return made;
}

/// Changes the mask of a tensor; `is_frozen` tells of each position what it becomes.
template <class T, class IsFrozen> void set_mask(const ModelTensor<T>& tensor, const IsFrozen& is_frozen) {
  bool changed = false;
  for (Index i = 0; i < tensor.value.size(); ++i) {
    const std::uint8_t frozen = is_frozen(i) ? 1 : 0;
    changed |= tensor.frozen[i] != frozen;
    tensor.frozen[i] = frozen;
  }
  if (changed) ++*tensor.mask_version;
}

/// Copies what has been checked. Nothing can fail here.
template <class T>
void copy(Plan<T>& plan, std::vector<nn::Parameter<T>>& decomposed, const Archive& archive, bool masks) {
  LoadReport& report = plan.report;
  for (const auto& [tensor, name, mask] : plan.tensors) {
    const StoredTensor& stored = archive.tensor(name);
    convert(stored.dtype, archive.data(stored), tensor.value.size(), tensor.value.data());
    report.loaded.push_back(tensor.name);
    if (!masks || (mask.empty() && !tensor.is_masked())) continue;
    const char* const free = mask.empty() ? nullptr : archive.data(archive.tensor(mask));
    set_mask(tensor, [&](Index i) { return free != nullptr && free[i] == 0; });
  }
  for (std::size_t i = 0; i < plan.dense.size(); ++i) {
    const ModelPart<T>& part = plan.dense[i].target;
    auto tensor = part.tensors.begin();
    std::vector<std::string>& factors =
        report.factorized.emplace_back(part.name, std::vector<std::string>{}).second;
    decomposed[i].for_leaves("", [&](const std::string&, nn::Parameter<T>& factor) {
      std::ranges::copy(factor.value(), tensor->value.begin());
      const std::uint8_t* const frozen = factor.block()->frozen.data() + factor.offset();
      if (masks) set_mask(*tensor, [&](Index k) { return frozen[k] != 0; });
      report.loaded.push_back(tensor->name);
      factors.push_back(tensor->name);
      ++tensor;
    });
  }
}

/// Checks everything first, so that the model changes as a whole or not at all.
template <class T> void check_and_copy(Plan<T>& plan, const Archive& archive, const LoadOptions& options) {
  archive.while_unchanged([&] {
    const auto check = [&](const auto& source, const Shape& shape) {
      const StoredTensor& stored = archive.require<T>(source.name, shape, {.convert = options.convert});
      free_entries(archive, source.mask, shape);
      if (stored.dtype != dtype_of<T>) plan.report.converted.push_back(source.target.name);
    };
    std::vector<nn::Parameter<T>> decomposed;
    for (const auto& source : plan.tensors) check(source, source.target.value.shape());
    for (const auto& source : plan.dense) check(source, source.target.parameter->shape());
    for (const auto& source : plan.dense) decomposed.push_back(decompose(archive, source));
    copy(plan, decomposed, archive, options.masks);
  });
}

}  // namespace

template <class T> LoadReport load(nn::Module<T>& model, const Archive& archive, const LoadOptions& options) {
  Plan<T> plan = make_plan(parts_of<T>(model), archive, options);
  require_fit(plan, archive, options);
  if (options.architecture && !options.partial) {
    const Comparison compared = compare_architecture<T>(model, archive, options.rename);
    if (!compared.difference.empty()) {
      archive.fail(compared.difference, ": expected a model that computes the same, or `architecture` off");
    }
    plan.report.same_architecture = compared.known;
  }
  check_and_copy(plan, archive, options);
  return std::move(plan.report);
}

template <class T>
LoadReport load(nn::Module<T>& model, const std::string& path, const LoadOptions& options) {
  return load(model, Archive(path), options);
}

std::ostream& operator<<(std::ostream& out, const LoadReport& report) {
  out << report.loaded.size() << " loaded";
  if (!report.converted.empty()) out << ", " << report.converted.size() << " converted";
  for (const auto& [name, factors] : report.factorized) {
    out << ", " << quote(name) << " as " << data::quote_some(factors);
  }
  if (!report.missing.empty()) out << ", missing " << data::quote_some(report.missing);
  if (!report.surplus.empty()) out << ", left over " << data::quote_some(report.surplus);
  return out;
}

#define TAPER_INSTANTIATE(T)                                                        \
  template LoadReport load(nn::Module<T>&, const std::string&, const LoadOptions&); \
  template LoadReport load(nn::Module<T>&, const Archive&, const LoadOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::io
