"""Translation: a registered model's weights -> ONNX, under a new id, with a certificate of how near the answers are.

To ONNX, from which other runtimes read; not between any two frameworks.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from headrace.access import Principal
from headrace.assets import Model, Plain


class Wish(Plain):
    """How a model is to be translated."""

    opset: int = Field(17, ge=13, le=21)
    tolerance: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="largest difference of answers; unset: 1e-5 of the largest answer, 1e-3 where dtypes narrow",
    )
    dropout: str = Field("eval", pattern="^(eval|train-fixed)$")
    name: str = Field("", max_length=200, description="of the translation; unset: the original's, and ` (ONNX)`")
    input_shape: list[Annotated[int, Field(ge=1, le=2**24)]] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="of one input without its batch axis, where neither the model nor its recipe says",
    )


class Translating(Protocol):
    """Translates."""

    async def translate(self, who: Principal, id: str, wish: Wish) -> Model:
        """Translate a model, in the sandbox; again with the same wish: the model that is there already.

        Raises NotFound, Forbidden, Conflict (its training has not completed: the message says what it is now), BadInput
        (the reason why it cannot be translated, or the parity that was not reached), NoIsolation.
        """
        ...
