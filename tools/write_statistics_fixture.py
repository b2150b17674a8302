"""Writes what SciPy makes of some samples, for the tests of `contextlm compare`.

    pip install scipy==1.17.1
    python3 tools/write_statistics_fixture.py > crates/contextlm-train/tests/fixtures/statistics.json
"""

import json

import numpy as np
from scipy import stats

random = np.random.default_rng(0)
cases = []
for n, m, scale in [(2, 2, 0.01), (3, 3, 0.01), (3, 3, 0.1), (3, 5, 0.02), (5, 3, 1.0), (10, 4, 0.005), (2, 30, 0.3)]:
    values, baseline = random.normal(5.2, 0.01, n), random.normal(5.25, scale, m)
    test = stats.ttest_ind(values, baseline, equal_var=False)
    interval = test.confidence_interval(0.95)
    cases.append({
        "values": values.tolist(), "baseline": baseline.tolist(), "mean": values.mean(), "sem": stats.sem(values),
        "difference": values.mean() - baseline.mean(), "df": test.df, "low": interval.low, "high": interval.high,
    })
print(json.dumps(cases, indent=1))
