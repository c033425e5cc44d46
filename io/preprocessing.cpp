#include <taper/io/preprocessing.hpp>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/utf8.hpp>

namespace taper::io {
namespace {

using PreprocessingJson = nlohmann::ordered_json;

// The words stand in the order of the enumerators.
constexpr const char* column_kinds[] = {"number", "category", "date", "unused"};
constexpr const char* feature_kinds[] = {"value", "missing", "category", "other"};
constexpr const char* target_kinds[] = {"regression", "two_classes", "classes"};

const std::string& checked_text(const std::string& name) {
  if (data::valid_utf8(name) == name) return name;
  throw Error("save", "the name ", data::quote(name), " is not UTF-8: expected text that JSON can hold");
}

double checked_number(double value, const std::string& name) {
  if (std::isfinite(value)) return value;
  throw Error("save", "a preprocessing with ", value, " for ", data::quote(name),
              ": expected finite numbers");
}

PreprocessingJson checked_list(const std::vector<std::string>& texts) {
  PreprocessingJson list = PreprocessingJson::array();
  for (const std::string& word : texts) list.push_back(checked_text(word));
  return list;
}

/// Reads values from JSON, and says what is wrong with it.
class PreprocessingReader {
 public:
  PreprocessingReader(const std::string& text, const std::string& source)
      : source_(source), root_(PreprocessingJson::parse(text, nullptr, false)) {}

  data::Preprocessing read() {
    if (!root_.is_object()) fail("is no object");
    const PreprocessingJson& version = member(root_, "version");
    if (!version.is_number_integer() || version != preprocessing_version) {
      throw Error("load", source_, " has a preprocessing of version ", version.dump(), ": expected ",
                  preprocessing_version, ", which this program reads");
    }
    data::Preprocessing result;
    result.missing_words = distinct(root_, "missing_words");
    std::set<std::string> names;
    for (const PreprocessingJson& entry : list(root_, "columns")) {
      data::InputColumn column;
      column.name = text(entry, "name");
      if (!names.insert(column.name).second) fail("has two columns ", data::quote(column.name));
      column.kind = static_cast<data::ColumnKind>(word(entry, "kind", column_kinds));
      if (column.kind == data::ColumnKind::category) column.categories = distinct(entry, "categories");
      if (column.kind == data::ColumnKind::number || column.kind == data::ColumnKind::date) {
        column.fill = number(entry, "fill");
      }
      column.missing = flag(entry, "missing");
      if (column.kind == data::ColumnKind::category) column.others = flag(entry, "others");
      if (column.kind == data::ColumnKind::unused) column.reason = text(entry, "reason");
      result.columns.push_back(std::move(column));
    }
    for (const PreprocessingJson& entry : list(root_, "features")) {
      result.features.push_back(feature(entry, result.columns));
    }
    const PreprocessingJson& target = member(root_, "target");
    result.target.name = text(target, "name");
    if (names.contains(result.target.name))
      fail("has its target ", data::quote(result.target.name), " as a column");
    result.target.kind = static_cast<data::TargetKind>(word(target, "kind", target_kinds));
    if (result.target.kind == data::TargetKind::regression) {
      result.target.mean = number(target, "mean"), result.target.scale = scale(target);
    } else {
      result.target.classes = distinct(target, "classes");
      const std::size_t count = result.target.classes.size();
      const bool two = result.target.kind == data::TargetKind::two_classes;
      if (count < 2 || two != (count == 2)) fail("has ", count, " classes");
    }
    return result;
  }

 private:
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("load", source_, " has a preprocessing that ", parts...,
                ": expected one that this library has written");
  }

  const PreprocessingJson& member(const PreprocessingJson& object, const char* name) const {
    if (!object.is_object()) fail("has something else in place of an object");
    const auto found = object.find(name);
    if (found == object.end()) fail("lacks ", data::quote(name));
    return *found;
  }
  const PreprocessingJson& list(const PreprocessingJson& object, const char* name) const {
    const PreprocessingJson& value = member(object, name);
    if (!value.is_array()) fail("has no list as ", data::quote(name));
    return value;
  }
  std::string text(const PreprocessingJson& object, const char* name) const {
    const PreprocessingJson& value = member(object, name);
    if (!value.is_string()) fail("has no text as ", data::quote(name));
    return value.get<std::string>();
  }
  std::vector<std::string> texts(const PreprocessingJson& object, const char* name) const {
    std::vector<std::string> result;
    for (const PreprocessingJson& value : list(object, name)) {
      if (!value.is_string()) fail("has no texts as ", data::quote(name));
      result.push_back(value.get<std::string>());
    }
    return result;
  }
  std::vector<std::string> distinct(const PreprocessingJson& object, const char* name) const {
    std::vector<std::string> result = texts(object, name);
    std::set<std::string> seen;
    for (const std::string& word : result) {
      if (!seen.insert(word).second) fail("has ", data::quote(word), " twice among its ", name);
    }
    return result;
  }
  bool flag(const PreprocessingJson& object, const char* name) const {
    const PreprocessingJson& value = member(object, name);
    if (!value.is_boolean()) fail("has no truth value as ", data::quote(name));
    return value.get<bool>();
  }
  double number(const PreprocessingJson& object, const char* name) const {
    const PreprocessingJson& value = member(object, name);
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      fail("has no finite number as ", data::quote(name));
    }
    return value.get<double>();
  }
  double scale(const PreprocessingJson& object) const {
    const double value = number(object, "scale");
    if (!(value > 0)) fail("has the scale ", value);
    return value;
  }
  template <std::size_t N>
  std::size_t word(const PreprocessingJson& object, const char* name, const char* const (&words)[N]) const {
    const std::string value = text(object, name);
    for (std::size_t k = 0; k < N; ++k) {
      if (value == words[k]) return k;
    }
    fail("has the ", name, " ", data::quote(value));
  }
  Index place(const PreprocessingJson& object, const char* name, std::size_t count) const {
    const PreprocessingJson& value = member(object, name);
    if (!value.is_number_integer() || value < 0 || value >= count) {
      fail("has the ", name, " ", value.dump(), " of ", count);
    }
    return value.get<Index>();
  }
  data::Feature feature(const PreprocessingJson& entry, const std::vector<data::InputColumn>& columns) const {
    using Kind = data::Feature::Kind;
    data::Feature result;
    result.name = text(entry, "name");
    result.column = place(entry, "column", columns.size());
    const data::InputColumn& column = columns[static_cast<std::size_t>(result.column)];
    result.kind = static_cast<Kind>(word(entry, "kind", feature_kinds));
    if (result.kind == Kind::category) result.category = place(entry, "category", column.categories.size());
    const bool of_category = result.kind == Kind::category || result.kind == Kind::other;
    const bool is_category = column.kind == data::ColumnKind::category;
    if (column.kind == data::ColumnKind::unused || (of_category && !is_category) ||
        (result.kind == Kind::value && is_category)) {
      fail("has the feature ", data::quote(result.name), " of another kind than its column");
    }
    result.mean = number(entry, "mean"), result.scale = scale(entry);
    return result;
  }

  const std::string& source_;
  PreprocessingJson root_;
};

}  // namespace

std::string to_json(const data::Preprocessing& preprocessing) {
  PreprocessingJson columns = PreprocessingJson::array(), features = PreprocessingJson::array();
  for (const data::InputColumn& column : preprocessing.columns) {
    PreprocessingJson entry{{"name", checked_text(column.name)},
                            {"kind", column_kinds[static_cast<std::size_t>(column.kind)]}};
    switch (column.kind) {
      case data::ColumnKind::number:
      case data::ColumnKind::date:
        entry["fill"] = checked_number(column.fill, column.name);
        break;
      case data::ColumnKind::category:
        entry["categories"] = checked_list(column.categories);
        break;
      case data::ColumnKind::unused:
        entry["reason"] = checked_text(column.reason);
        break;
    }
    entry["missing"] = column.missing;
    if (column.kind == data::ColumnKind::category) entry["others"] = column.others;
    columns.push_back(std::move(entry));
  }
  for (const data::Feature& feature : preprocessing.features) {
    PreprocessingJson entry{{"name", checked_text(feature.name)},
                            {"column", feature.column},
                            {"kind", feature_kinds[static_cast<std::size_t>(feature.kind)]}};
    if (feature.kind == data::Feature::Kind::category) entry["category"] = feature.category;
    entry["mean"] = checked_number(feature.mean, feature.name);
    entry["scale"] = checked_number(feature.scale, feature.name);
    features.push_back(std::move(entry));
  }
  const data::TargetColumn& target = preprocessing.target;
  PreprocessingJson goal{{"name", checked_text(target.name)},
                         {"kind", target_kinds[static_cast<std::size_t>(target.kind)]}};
  if (target.kind == data::TargetKind::regression) {
    goal["mean"] = checked_number(target.mean, target.name);
    goal["scale"] = checked_number(target.scale, target.name);
  } else {
    goal["classes"] = checked_list(target.classes);
  }
  return PreprocessingJson{{"version", preprocessing_version},
                           {"columns", std::move(columns)},
                           {"features", std::move(features)},
                           {"target", std::move(goal)},
                           {"missing_words", checked_list(preprocessing.missing_words)}}
      .dump();
}

data::Preprocessing preprocessing_from_json(const std::string& text, const std::string& source) {
  return PreprocessingReader(text, source).read();
}

}  // namespace taper::io
