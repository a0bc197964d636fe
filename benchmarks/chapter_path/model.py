"""The chapter's online model: every POST learns from one reading and forecasts the next: ``python model.py PORT``.

Runs in the KServe environment.
"""

# mypy: ignore-errors

from collections import deque

import numpy as np
from quiet import Model, serve
from sklearn.linear_model import SGDRegressor

HISTORY = 10


class Online(Model):
    """Ten lags and scikit-learn's SGDRegressor, one `partial_fit` a reading: no scaler, no scoring, no snapshot."""

    def __init__(self, name: str):
        super().__init__(name)
        self.regressor = SGDRegressor()
        self.recent = deque(maxlen=HISTORY)

    def predict(self, payload, headers=None):
        return {"predictions": [self.step(reading) for reading in payload["instances"]]}

    def step(self, reading: dict) -> dict:
        value = float(reading["value"])
        full = len(self.recent) == HISTORY
        if full:
            self.regressor.partial_fit(np.array(self.recent)[None], [value])
        self.recent.append(value)
        forecast = self.regressor.predict(np.array(self.recent)[None])[0] if full else value
        return {"ts": reading["ts"], "device": reading["device"], "forecast": float(forecast)}


if __name__ == "__main__":
    serve(Online("online"))
