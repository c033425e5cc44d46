#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/shape.hpp>

namespace taper::sparsity {

/// One setting that is searched for: a range of numbers, or a list of words.
struct SearchDimension {
  enum class Kind {
    uniform,      ///< a number of [low, high]
    log_uniform,  ///< the same, uniform in the logarithm
    integer,      ///< a whole number of [low, high]
    log_integer,  ///< the same, uniform in the logarithm
    categorical   ///< one of `choices`, written as its position from 0
  };

  std::string name;
  Kind kind = Kind::uniform;
  double low = 0, high = 1;
  std::vector<std::string> choices = {};

  static SearchDimension uniform(std::string name, double low, double high);
  static SearchDimension log_uniform(std::string name, double low, double high);
  static SearchDimension integer(std::string name, Index low, Index high);
  static SearchDimension log_integer(std::string name, Index low, Index high);
  static SearchDimension categorical(std::string name, std::vector<std::string> choices);

  bool is_integer() const { return kind == Kind::integer || kind == Kind::log_integer; }
  bool is_log() const { return kind == Kind::log_uniform || kind == Kind::log_integer; }
  /// Whether a value is one of the dimension.
  bool holds(double value) const;

  friend bool operator==(const SearchDimension&, const SearchDimension&) = default;
};

/// A point of a space by names, as the model and the training read it. Names that are not there have the
/// value that the reader falls back to, so that a space lists what is searched and nothing else.
class TrialSettings {
 public:
  struct Setting {
    std::string name;
    double number = 0;
    std::string word = {};  ///< of a categorical one; else empty
    bool is_word = false;
  };

  TrialSettings() = default;
  explicit TrialSettings(std::vector<Setting> settings) : settings_(std::move(settings)) {}

  const std::vector<Setting>& all() const { return settings_; }
  bool has(std::string_view name) const;
  /// Throws Error for one that is a word and not a number.
  double number(std::string_view name, double fallback) const;
  /// Throws Error like number, and for one that is not whole.
  Index integer(std::string_view name, Index fallback) const;
  /// A word. A choice that was listed as "3" is a number for those who ask for one. Throws Error for a
  /// number.
  std::string word(std::string_view name, const std::string& fallback) const;
  void set(const std::string& name, double value);
  void set(const std::string& name, const std::string& word);
  void set(const Setting& setting) { at(setting.name) = setting; }

 private:
  const Setting* find(std::string_view name) const;
  Setting& at(const std::string& name);

  std::vector<Setting> settings_;
};

/// The settings that are searched for together.
class SearchSpace {
 public:
  /// Throws Error for a name that is empty or occurs twice, a range that is empty or not finite, a
  /// logarithmic one that is not above 0, bounds of an integer that are not whole, and a list without or with
  /// equal choices.
  SearchSpace(std::vector<SearchDimension> dimensions);

  const std::vector<SearchDimension>& dimensions() const { return dimensions_; }
  std::size_t size() const { return dimensions_.size(); }
  /// A point has one number for each dimension. Throws Error for one that does not lie in the space.
  TrialSettings settings(const std::vector<double>& point) const;
  void check(const std::vector<double>& point) const;

  friend bool operator==(const SearchSpace&, const SearchSpace&) = default;

 private:
  std::vector<SearchDimension> dimensions_;
};

}  // namespace taper::sparsity
