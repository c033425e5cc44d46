#include <taper/autodiff/arity.hpp>

#include <ostream>

namespace taper {

std::ostream& operator<<(std::ostream& out, const Arity& arity) {
  out << arity.least;
  if (arity.most == Arity::any) {
    out << " or more";
  } else if (arity.most != arity.least) {
    out << " to " << arity.most;
  }
  return out << (arity.most == 1 ? " input" : " inputs");
}

}  // namespace taper
