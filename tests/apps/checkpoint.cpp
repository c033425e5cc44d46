// Kills a program at random moments and starts it again.

#include <chrono>
#include <string>

#include <taper/autodiff/random.hpp>

#include "run.hpp"

using namespace programs;

TEST_CASE("sparse_mlp --checkpoint: killed at any moment, on other threads, it ends with the same files") {
  const Folder folder;
  const std::string options = "--quiet --epochs 4 --batch-size 64 --checkpoint-every 0.002 --json '" +
                              (folder / "report") + "' --checkpoint '" + (folder / "run") + "' --threads ";
  const auto report = [&] { return without_seconds(Json::parse(text(folder / "report"))); };
  const auto start = std::chrono::steady_clock::now();
  const Run whole = run("sparse_mlp", options + "1");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  const Json expected = report();
  const std::string phase1 = text(folder / "run.phase1"), phase2 = text(folder / "run.phase2");
  REQUIRE_FALSE(phase2.empty());

  taper::Rng rng(::getpid());
  int killed = 0;
  for (int trial = 0; trial < (sanitized ? 2 : 10); ++trial) {
    for (const char* name : {"report", "run.phase1", "run.phase1.1", "run.phase2", "run.phase2.1"}) {
      fs::remove(folder / name);
    }
    const double after = rng.uniform(0.02, 1) * seconds;
    CAPTURE(after);
    const std::string killing = "timeout -s KILL " + std::to_string(after);
    killed += run("sparse_mlp", options + std::to_string(1 + trial % 3), false, "", killing).status != 0;
    const Run again = run("sparse_mlp", options + std::to_string(1 + (trial + 1) % 3));
    INFO(again.err);
    REQUIRE(again.status == 0);
    CHECK(report() == expected);
    CHECK(text(folder / "run.phase1") == phase1);
    CHECK(text(folder / "run.phase2") == phase2);
  }
  CHECK(killed > 0);
}

TEST_CASE("sparse_mlp --checkpoint: another training is an error, and so is a path that cannot be written") {
  const Folder folder;
  const std::string options = "--quiet --epochs 1 --checkpoint '" + (folder / "run") + "'";
  REQUIRE(run("sparse_mlp", options).status == 0);
  const Run other = run("sparse_mlp", options + " --lr 1e-3");
  CHECK(other.status == 2);
  CHECK(other.err.starts_with("sparse_mlp: [checkpoint] " + (folder / "run.phase1") +
                              " does not fit this training, "));
  CHECK(other.err.find("a state of an optimizer with lr 0.002: expected 0.001") != std::string::npos);
  // Nothing else is written where the checkpoints are.
  const std::string before = text(folder / "run.phase1");
  for (const char* option : {" --save '", " --json '"}) {
    const Run over = run("sparse_mlp", options + option + (folder / "run.phase1") + "'");
    CHECK(over.status == 2);
    CHECK(over.err.find("has read or written: expected another") != std::string::npos);
  }
  CHECK(text(folder / "run.phase1") == before);
  const Run unset = run("sparse_mlp", "--checkpoint ''");
  CHECK(unset.status == 2);
  CHECK(unset.err.find("--checkpoint: '': expected a path that can be written to") != std::string::npos);
  const Run nowhere = run("sparse_mlp", "--checkpoint /nowhere/at/all");
  CHECK(nowhere.status == 2);
  CHECK(nowhere.err.find("--checkpoint: '/nowhere/at/all': expected a path that can be written to") !=
        std::string::npos);
}
