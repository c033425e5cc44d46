#include <taper/nn/groups.hpp>

#include <map>
#include <sstream>

#include "../check.hpp"

using namespace taper;
using nn::Groups;

TEST_CASE("Groups: names, words and what is equal") {
  CHECK(Groups::filters == Groups::outputs);
  CHECK(Groups::channels == Groups::inputs);
  CHECK(Groups::axis(0) == Groups::outputs);
  CHECK(Groups::axis(1) == Groups::inputs);
  CHECK(Groups::axis(2) != Groups::axis(3));
  CHECK(Groups() == Groups::elements);
  CHECK(Groups::elements.are_elements());
  CHECK_FALSE(Groups::outputs.are_elements());
  CHECK(Groups::axis(3).axis() == 3);
  for (const Groups& groups :
       {Groups::elements, Groups::outputs, Groups::inputs, Groups::axis(2), Groups::axis(3)}) {
    CHECK(Groups::from(groups.str()) == groups);
    std::ostringstream text;
    text << groups;
    CHECK(text.str() == groups.str());
  }
  CHECK(Groups::filters.str() == "outputs");
  CHECK(Groups::axis(2).str() == "axis 2");
  for (const char* const word : {"", "filters", "axis 1", "axis 4", "axis -1", "Inputs"}) {
    CHECK_FALSE(Groups::from(word).has_value());
  }
  for (const Index axis : {-1, 4, 1000}) {
    CHECK_ERROR(Groups::axis(axis), "[groups] axis " + std::to_string(axis), ": expected 0 to 3");
  }
}

TEST_CASE("Groups: counts, sizes, gates and the group of each entry, by loops over all indices") {
  const Shape shapes[] = {{},           {5},          {4, 3},    {3, 1, 4}, {2, 3, 4},   {2, 3, 4, 5},
                          {2, 3, 1, 1}, {1, 1, 1, 1}, {0, 3, 2}, {3, 0},    {2, 3, 0, 2}};
  for (const Shape& shape : shapes) {
    CAPTURE(shape);
    CHECK(Groups::elements.count(shape) == shape.size());
    CHECK(Groups::elements.size(shape) == 1);
    CHECK(Groups::elements.gates(shape) == shape);
    for (Index i = 0; i < shape.size(); ++i) CHECK(Groups::elements.blocks(shape).group_of(i) == i);
    for (Index axis = 0; axis < Shape::max_rank; ++axis) {
      CAPTURE(axis);
      const Groups groups = Groups::axis(axis);
      CHECK(groups.fit(shape) == (axis < shape.rank()));
      if (axis >= shape.rank()) {
        CHECK_ERROR(groups.count(shape), "[groups] " + groups.str() + " of a parameter " + shape.str(),
                    ": expected " + std::to_string(axis + 1) + " axes or more");
        CHECK_ERROR(groups.gates(shape), "[groups]");
        CHECK_ERROR(groups.size(shape), "[groups]");
        continue;
      }
      CHECK(groups.count(shape) == shape[axis]);
      CHECK(groups.gates(shape).size() == shape[axis]);
      CHECK(groups.gates(shape).rank() == shape.rank() - axis);
      CHECK(groups.gates(shape)[0] == shape[axis]);
      const Groups::Blocks blocks = groups.blocks(shape);
      Index inner = 1;
      for (Index k = axis + 1; k < shape.rank(); ++k) inner *= shape[k];
      std::map<Index, Index> sizes;
      for (Index i = 0; i < shape.size(); ++i) {
        CHECK(blocks.group_of(i) == i / inner % shape[axis]);
        ++sizes[blocks.group_of(i)];
      }
      for (const auto& [group, size] : sizes) CHECK(size == groups.size(shape));
    }
  }
}
