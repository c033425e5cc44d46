#include <taper/optim/group.hpp>

#include <fnmatch.h>

#include <cmath>

#include <taper/instantiate.hpp>

namespace taper::optim {

template <class T>
std::vector<const Group*> match_groups(const std::vector<Group>& groups, const nn::Parameters<T>& parameters,
                                       const char* where) {
  std::vector<const Group*> result(parameters.entries().size(), nullptr);
  for (const Group& group : groups) {
    bool used = false;
    for (std::size_t k = 0; k < result.size(); ++k) {
      if (fnmatch(group.match.c_str(), parameters.entries()[k].name.c_str(), 0) != 0) continue;
      used = true;
      if (result[k] == nullptr) result[k] = &group;
    }
    if (!used) {
      throw Error(where, "a group for '", group.match, "': expected a pattern that some parameter matches");
    }
    if (group.lr) require_setting(where, "lr", *group.lr);
    if (group.weight_decay) require_setting(where, "weight_decay", *group.weight_decay);
  }
  return result;
}

void require_setting(const char* where, const char* name, double value, bool below_one) {
  const bool fine = std::isfinite(value) && value >= 0 && (!below_one || value < 1);
  if (!fine) throw Error(where, name, " ", value, ": expected ", below_one ? "0 <= number < 1" : "0 or more");
}

#define TAPER_INSTANTIATE(T)                                                                           \
  template std::vector<const Group*> match_groups(const std::vector<Group>&, const nn::Parameters<T>&, \
                                                  const char*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim
