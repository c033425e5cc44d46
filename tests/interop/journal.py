"""Reads journals that taper has written with Optuna, and lets taper go on with one that Optuna has read:
journal.py PROGRAM FOLDER.

PROGRAM runs studies into FOLDER, and writes what Optuna should find there. Ends with status 77, "skipped", where there
is no Optuna.
"""

import json
import math
import os
import subprocess
import sys
import wsgiref.util

try:
    import optuna
    from optuna.storages import JournalStorage
    try:
        from optuna.storages.journal import JournalFileBackend
    except ImportError:  # before version 4
        from optuna.storages import JournalFileStorage as JournalFileBackend
except ImportError as error:
    print(f"skipped: {error} (pip install optuna)")
    sys.exit(77)

program, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
path = os.path.join(folder, "study.log")
if os.path.exists(path):
    os.remove(path)
optuna.logging.set_verbosity(optuna.logging.ERROR)
states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}


def compare(expected):
    """Every study, trial by trial, as Optuna has it."""
    storage = JournalStorage(JournalFileBackend(path))
    assert sorted(s.study_name for s in storage.get_all_studies()) == sorted(expected), expected.keys()
    for name, trials in expected.items():
        study = optuna.load_study(study_name=name, storage=storage)
        assert all(d == optuna.study.StudyDirection.MINIMIZE for d in study.directions)
        assert len(study.trials) == len(trials), (name, len(study.trials), len(trials))
        for found, trial in zip(study.trials, trials):
            at = (name, trial["number"])
            assert found.number == trial["number"], at
            assert found.state.name == states[trial["state"]], (at, found.state)
            assert found.params == trial["params"], (at, found.params, trial["params"])
            for parameter in found.params:
                assert found.distributions[parameter]._contains(
                    found.distributions[parameter].to_internal_repr(found.params[parameter])
                ), at
            if trial["state"] != "failed":
                assert found.values == trial["objectives"], (at, found.values)
                assert list(found.system_attrs.get("constraints", [])) == trial["constraints"], at
            assert [list(pair) for pair in sorted(found.intermediate_values.items())] == trial["reports"], at
            for key, value in trial["figures"].items():
                assert found.user_attrs[key] == value, (at, key)
            assert found.datetime_start <= found.datetime_complete, at
        complete = [t for t in trials if t["state"] == "complete" and all(c <= 0 for c in t["constraints"])]
        if complete and len(complete[0]["objectives"]) == 1:
            best = min(complete, key=lambda t: t["objectives"][0])
            mine = [t for t in study.trials if t.state.name == "COMPLETE"]
            mine = [t for t in mine if all(c <= 0 for c in t.system_attrs.get("constraints", []))]
            assert min(mine, key=lambda t: t.value).number == best["number"], name
    return storage


def run():
    output = subprocess.run([program, path], check=True, capture_output=True, text=True).stdout
    return json.loads(output)


expected = run()
storage = compare(expected)
count = sum(len(trials) for trials in expected.values())
print(f"optuna {optuna.__version__}: {len(expected)} studies, {count} trials as they were written")


def check_dashboard():
    """What the dashboard's pages ask its server for."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        return print(f"the dashboard is not tested: {error} (pip install optuna-dashboard)")
    app = wsgi(storage)

    def get(address):
        environ, status = {"PATH_INFO": address}, []
        wsgiref.util.setup_testing_defaults(environ)
        body = b"".join(app(environ, lambda line, headers, *_: status.append(line)))
        assert status[0].startswith("200"), (address, status, body)
        return json.loads(body)

    studies = get("/api/studies")
    studies = studies.get("study_summaries", studies.get("studies"))
    assert sorted(s["study_name"] for s in studies) == sorted(expected), studies
    for study in studies:
        trials = get(f"/api/studies/{study['study_id']}")["trials"]
        assert len(trials) == len(expected[study["study_name"]]), study
    print("the dashboard has all of them")


check_dashboard()

# Optuna goes on with a study in the same file, and asks its samplers about ours.
study = optuna.load_study(study_name="plain", storage=storage, sampler=optuna.samplers.TPESampler(seed=1))
trial = study.ask(
    {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True),
        "x": optuna.distributions.FloatDistribution(-5, 5),
        "n": optuna.distributions.IntDistribution(1, 9),
        "word": optuna.distributions.CategoricalDistribution(["good", "bad"]),
    }
)
study.tell(trial, 0.125)
other = optuna.create_study(study_name="optuna's own", storage=storage)
other.optimize(lambda t: t.suggest_float("y", -1, 1) ** 2, n_trials=3)

# And we read what Optuna has written there: the program takes its studies up again, and finds them finished.
again = run()
plain = again["plain"]
assert plain[:-1] == expected["plain"], "the trials before Optuna's"
assert plain[-1]["objectives"] == [0.125] and plain[-1]["params"] == trial.params, plain[-1]
assert {k: v for k, v in again.items() if k != "plain"} == {k: v for k, v in expected.items() if k != "plain"}
print("the studies were taken up again, with the trial that Optuna has added")
assert math.isfinite(best := min(t["objectives"][0] for t in plain if t["state"] == "complete")), best

# Both append at the same time, to one file: every line is whole, and each finds its own trials.
path = os.path.join(folder, "together.log")
for left in [path, path + ".lock"]:
    if os.path.exists(left):
        os.remove(left)
process = subprocess.Popen([program, path], stdout=subprocess.PIPE, text=True)
other = optuna.create_study(study_name="theirs", storage=JournalStorage(JournalFileBackend(path)))
count = 0
while process.poll() is None or count < 20:
    other.optimize(lambda t: t.suggest_float("y", -1, 1) ** 2, n_trials=1)
    count += 1
mine = json.loads(process.stdout.read())
assert process.returncode == 0 and mine == expected
assert not os.path.exists(path + ".lock")
theirs = optuna.load_study(study_name="theirs", storage=JournalStorage(JournalFileBackend(path)))
assert [t.state.name for t in theirs.trials] == ["COMPLETE"] * count
with open(path) as file:
    workers = [json.loads(line)["worker_id"].startswith("taper-") for line in file]
changes = sum(a != b for a, b in zip(workers, workers[1:]))
print(f"{len(workers)} events written side by side, the writer changed {changes} times: {count} trials are Optuna's")
