// Runs mlp_path.

#include "run.hpp"

using namespace programs;

TEST_CASE("mlp_path: a point for each penalty, smaller ones with more penalty, the same on two threads") {
  const std::string path = "--points 3 --smallest 1e-3 --largest 1e-1 --first-epochs 6 --epochs 4 ";
  const std::string arguments = path + "--refit-epochs 2 --dense-epochs 2";
  const Folder folder;
  const Json report = figures("mlp_path", arguments + " --plot '" + folder.path.string() + "'");
  CHECK(report["parameters"] == 4513);
  const Json& points = report["points"];
  REQUIRE(points.size() == 3);
  for (std::size_t k = 0; k < 3; ++k) {
    const Json& point = points[k];
    REQUIRE(has(point, {"alpha", "seed", "parameters", "widths", "dense_mse", "test_mse", "refit_mse",
                        "revived", "max_relative_difference", "certificate"}));
    CHECK(point["alpha"].get<double>() == doctest::Approx(k == 0 ? 1e-3 : k == 1 ? 1e-2 : 1e-1));
    CHECK(point["max_relative_difference"] < 1e-5);
    const Json& layers = point["certificate"]["layers"];
    REQUIRE(layers.size() == 4);
    CHECK(layers[1]["zero"].get<int>() + layers[1]["nonzero"].get<int>() == 32);
  }
  CHECK(points[2]["parameters"] < points[0]["parameters"]);
  CHECK(fs::exists(folder / "sizes.gp"));
  CHECK(figures("mlp_path", arguments + " --threads 2") == report);

  const Json falling = figures("mlp_path", path + "--falling --refit-epochs 0 --dense-epochs 0");
  CHECK(falling["points"][0]["alpha"] == points[2]["alpha"]);
  CHECK(falling["points"][0]["refit_mse"].is_null());
  CHECK(falling["points"][0]["dense_mse"].is_null());

  // The first of several seeds is the one alone.
  const Json seeds = figures("mlp_path", arguments + " --seeds 2");
  REQUIRE(seeds["points"].size() == 6);
  CHECK(seeds["points"][2] == points[2]);
  CHECK(seeds["points"][3]["seed"] == 1);
  CHECK(seeds["points"][3]["test_mse"] != points[0]["test_mse"]);
}

TEST_CASE("mlp_path: wrong input is one sentence and exit status 2") {
  for (const char* arguments :
       {"--points 0", "--smallest 0", "--smallest 1 --largest 0.1", "--points x", "--data /nowhere"}) {
    CAPTURE(arguments);
    const Run result = run("mlp_path", arguments);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
  }
  CHECK(run("mlp_path", "--help").out.find("--falling") != std::string::npos);
}

TEST_CASE("mlp_path, sparse_mlp: a table of one's own, with labels") {
  const Folder folder;
  const std::string table = folder / "t.csv", model = folder / "m.safetensors";
  {
    std::ofstream file(table);
    file << "a,kind,y\n";
    for (int i = 0; i < 60; ++i) file << i % 7 << ',' << "xyz"[i % 3] << ',' << 2 * (i % 7) + i % 3 << ".5\n";
  }
  const std::string own = " --csv '" + table + "' --target y";
  const Json path =
      figures("mlp_path", "--points 2 --epochs 1 --first-epochs 2 --refit-epochs 1 --dense-epochs 0" + own);
  CHECK(path["data"] == "t");
  CHECK(path["parameters"] == 4 * 32 + 32 + 32 * 64 + 64 + 64 * 32 + 32 + 32 + 1);  // a, and three kinds
  const Json trained = figures("sparse_mlp", "--epochs 3 --save '" + model + "'" + own);
  CHECK(trained["rows"] == Json{{"train", 48}, {"test", 12}});
  CHECK(trained["saved"]["rmse"].is_number());
  std::ofstream(folder / "constant.csv") << "a,y\n1,5\n2,5\n3,5\n4,5\n5,5\n6,5\n";
  std::ofstream(folder / "still.csv") << "a,y\n1,5\n1,6\n1,7\n1,8\n1,9\n1,5\n";
  for (const std::string& wrong :
       {std::string("--target y"), "--csv '" + table + "'", "--csv '" + table + "' --target z",
        "--csv '" + table + "' --target kind", "--csv '" + (folder / "constant.csv") + "' --target y",
        "--csv '" + (folder / "still.csv") + "' --target y"}) {
    for (const char* const program : {"mlp_path", "sparse_mlp"}) {
      CAPTURE(wrong);
      const Run result = run(program, wrong);
      CHECK(result.status == 2);
      CHECK(result.out.empty());
      CHECK(std::ranges::count(result.err, '\n') == 1);
    }
  }
}
