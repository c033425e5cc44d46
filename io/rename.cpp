#include <taper/io/rename.hpp>

#include <algorithm>
#include <optional>
#include <string_view>

#include <taper/autodiff/error.hpp>
#include <taper/data/quote.hpp>

namespace taper::io {
namespace {

/// The pieces of a pattern between its stars.
std::vector<std::string> split_at_stars(const std::string& pattern) {
  std::vector<std::string> pieces{""};
  for (const char c : pattern) {
    if (c == '*') {
      pieces.emplace_back();
    } else {
      pieces.back() += c;
    }
  }
  return pieces;
}

/// What the stars stand for in the name, each for as little as can be but the last; nothing if the pattern
/// does not match.
std::optional<std::vector<std::string>> match(const std::vector<std::string>& pieces, std::string_view name) {
  if (!name.starts_with(pieces.front())) return {};
  name.remove_prefix(pieces.front().size());
  std::vector<std::string> stars;
  if (pieces.size() == 1) return name.empty() ? std::optional(stars) : std::nullopt;
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    const bool is_last = i + 1 == pieces.size();
    const std::size_t size = pieces[i].size();
    const std::size_t at = !is_last                    ? name.find(pieces[i])
                           : name.ends_with(pieces[i]) ? name.size() - size
                                                       : name.npos;
    if (at == name.npos) return {};
    stars.emplace_back(name.substr(0, at));
    name.remove_prefix(at + size);
  }
  return stars;
}

}  // namespace

Rename::Rename(std::vector<Pair> pairs) {
  struct Rule {
    std::vector<std::string> from, to;
  };
  std::vector<Rule> rules;
  for (const auto& [from, to] : pairs) {
    rules.push_back({split_at_stars(from), split_at_stars(to)});
    if (rules.back().to.size() > rules.back().from.size()) {
      throw Error("rename", data::quote(from), " to ", data::quote(to),
                  ": expected no more stars than before");
    }
  }
  function_ = [rules = std::move(rules)](const std::string& name) {
    for (const Rule& rule : rules) {
      const auto stars = match(rule.from, name);
      if (!stars) continue;
      std::string result = rule.to[0];
      for (std::size_t i = 1; i < rule.to.size(); ++i) result += (*stars)[i - 1] + rule.to[i];
      return result;
    }
    return name;
  };
}

Rename::Rename(std::initializer_list<Pair> pairs) : Rename(std::vector<Pair>(pairs)) {}

std::string Rename::operator()(const std::string& name) const {
  return function_ ? function_(name) : name;
}

}  // namespace taper::io
