"""A recipe whose second run differs from its first: it forgets to use its seed. `headrace job reproduce` finds out."""

import os
from pathlib import Path

import numpy as np

np.save(Path(os.environ["HEADRACE_OUTPUT"], "weights.npy"), np.random.default_rng().normal(size=10))
