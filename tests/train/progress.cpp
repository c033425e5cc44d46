#include <taper/train/progress.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace taper;
using train::ProgressDisplay;
using Kind = ProgressDisplay::Kind;

namespace {

/// A file in memory.
struct Memory {
  ~Memory() {
    std::fclose(file);
    std::free(data);
  }
  std::string text() {
    std::fflush(file);
    return {data, size};
  }
  char* data = nullptr;
  std::size_t size = 0;
  std::FILE* file = open_memstream(&data, &size);
};

train::Epoch epoch(Index number, double loss = 0.25) {
  return {number, loss, {}, 2e-3, 0.5};
}

Index lines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

}  // namespace

TEST_CASE("progress: a plain line for each tenth, with loss, lr and time left") {
  Memory memory;
  ProgressDisplay display(Kind::lines, "phase 1", 20, memory.file);
  display.show(epoch(0), 1);
  CHECK(memory.text().empty());
  display.show(epoch(1), 2);
  CHECK(memory.text() == "phase 1: epoch 2 of 20, loss 0.25, lr 0.002, 18.0 s left\n");
  for (Index number = 2; number < 20; ++number) display.show(epoch(number), static_cast<double>(number + 1));
  display.finish();
  CHECK(lines(memory.text()) == 10);
  CHECK(memory.text().ends_with("phase 1: epoch 20 of 20, loss 0.25, lr 0.002, 0.0 s left\n"));
  display.finish();  // nothing more
  CHECK(lines(memory.text()) == 10);
}

TEST_CASE("progress: fewer than ten epochs are a line each") {
  Memory memory;
  ProgressDisplay display(Kind::lines, "fit", 3, memory.file);
  for (Index number = 0; number < 3; ++number) display.show(epoch(number), 1);
  CHECK(lines(memory.text()) == 3);
}

TEST_CASE("progress: a training that stops early still shows its last epoch") {
  Memory memory;
  {
    ProgressDisplay display(Kind::lines, "fit", 100, memory.file);
    for (Index number = 0; number < 15; ++number) display.show(epoch(number), 1);
    CHECK(lines(memory.text()) == 1);
  }
  CHECK(lines(memory.text()) == 2);
  CHECK(memory.text().ends_with("\nfit: epoch 15 of 100, loss 0.25, lr 0.002, stopped\n"));
}

TEST_CASE("progress: a bar is drawn over at most ten times a second, and its line is ended") {
  Memory memory;
  {
    ProgressDisplay display(Kind::bar, "fit", 10, memory.file);
    display.show(epoch(0), 0.01);
    const std::string first = "\rfit [###...........................] 1/10  loss 0.25  lr 0.002  0.1 s left";
    CHECK(memory.text() == first);
    display.show(epoch(1), 0.05);
    CHECK(memory.text() == first);
    display.show(epoch(4, 1.5), 0.5);
    CHECK(memory.text() ==
          first + "\rfit [###############...............] 5/10  loss 1.5  lr 0.002  0.5 s left ");
    display.show(epoch(9), 0.51);
    CHECK(memory.text().find("\rfit [##############################] 10/10") != std::string::npos);
    CHECK(lines(memory.text()) == 0);
  }
  CHECK(lines(memory.text()) == 1);
  CHECK(memory.text().ends_with("\n"));
}

TEST_CASE("progress: a bar fits the terminal, and is blank where it was longer before") {
  const auto drawn = [](Index columns, const char* title) {
    Memory memory;
    ProgressDisplay display(Kind::bar, title, 10, memory.file, columns);
    display.show(epoch(4), 1);
    return memory.text();
  };
  const std::string after = " 5/10  loss 0.25  lr 0.002  1.0 s left";
  CHECK(drawn(200, "fit") == "\rfit [###############...............]" + after);
  CHECK(drawn(58, "fit") == "\rfit [######.......]" + after);  // 57 columns
  CHECK(drawn(48, "fit") == "\rfit [#..]" + after);
  CHECK(drawn(47, "fit") == "\rfit" + after);
  CHECK(drawn(20, "fit") == "\rfit 5/10  loss 0.25");
  CHECK(drawn(1, "fit") == "\r");
  CHECK(drawn(3, "\xc3\xa9\xc3\xa9\xc3\xa9") == "\r\xc3\xa9\xc3\xa9");
  for (Index columns = 1; columns < 100; ++columns) {
    CHECK(static_cast<Index>(drawn(columns, "a title").size()) <= columns);  // with the return
  }
  Memory memory;
  ProgressDisplay display(Kind::bar, "fit", 10, memory.file, 100);
  display.show(epoch(4, 0.123456), 1);
  display.show(epoch(5, 1), 2);
  CHECK(memory.text().ends_with(" 6/10  loss 1  lr 0.002  1.3 s left       "));
  CHECK(memory.text().find('\033') == std::string::npos);
}

TEST_CASE(
    "progress: a bar that was stopped shows where, and nothing is written when there is nothing to say") {
  Memory memory;
  {
    ProgressDisplay display(Kind::bar, "fit", 10, memory.file);
    display.show(epoch(0), 0.01);
    display.show(epoch(1), 0.02);
  }
  CHECK(memory.text().find("2/10") != std::string::npos);
  CHECK(memory.text().ends_with("stopped   \n"));
  Memory silent;
  {
    ProgressDisplay none(Kind::none, "fit", 10, silent.file), unused(Kind::bar, "fit", 10, silent.file);
    for (Index number = 0; number < 10; ++number) none.show(epoch(number), 1);
  }
  CHECK(silent.text().empty());
}
