"""Runs the page of docs/tuning.md where Optuna searches and tune runs each trial: tune.py PROGRAM CHAPTER.

With shorter trials, and fewer. Ends with status 77, "skipped", where there is no Optuna.
"""

import math
import os
import re
import sys

try:
    import optuna
except ImportError as error:
    print(f"skipped: {error} (pip install optuna)")
    sys.exit(77)

program, chapter = sys.argv[1:]
os.environ.pop("TAPER_DATA", None)  # the embedded set
with open(chapter) as file:
    blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
page = next(block for block in blocks if "--trial" in block)
for old, new in {
    '"tune", "--data", "DATA",': f"{program!r},",
    '"budget": 120,': '"budget": 120, "refit_iterations": 3, "cut_iterations": 1,',
    'trial.suggest_int("epochs", 50, 800, log=True)': "2",
    "optuna.create_study().optimize": "study = optuna.create_study()\nstudy.optimize",
    "n_trials=100": "n_trials=2",
}.items():
    assert page.count(old) == 1, old
    page = page.replace(old, new)
names = {}
exec(page, names)
trials = names["study"].trials
assert [t.state.name for t in trials] == ["COMPLETE"] * 2, trials
for trial in trials:
    assert math.isfinite(trial.value) and 0 < trial.user_attrs["size"] <= 120, trial
print(f"optuna {optuna.__version__}: trials of {program} from its own loop")
