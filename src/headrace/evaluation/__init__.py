"""Evaluation: how good a spec is on recorded data, beside simple forecasts, without leakage.

`periods` says which days train and which validate, `data` reads what a user brings, `parts` cuts the grid series,
`contenders` fit and forecast, `measures` compares, `rolling` and `drift` are the two experiments, `report` is what is
shown, stored and sent, in one shape.
"""
