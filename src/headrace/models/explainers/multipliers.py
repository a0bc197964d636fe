"""DeepLIFT's rules for torch modules. Imports torch.

The module runs twice under a mode that sees every torch function: first on the baseline, when the inputs of each nonlinear
operation are written down, then on the example, when each of these operations gets, instead of its derivative, the
**multiplier** that carries its exact difference:

- rescale rule for functions of one tensor: (g(u) - g(u0)) / (u - u0); the derivative half-way where they are equal;
- product rule for products of two tensors that both vary: d(ab) = da * mean(b) + db * mean(a), means over example and
  baseline, which is exact, where both partial derivatives at the example would count da * db twice;
- linear operations keep their gradient. A recurrent layer is unrolled into its cells, which are made of the above.

The ordinary backward pass then multiplies the multipliers down to the inputs. Whatever else stands in the graph is refused.

Source: Shrikumar, Greenside and Kundaje, ICML 2017 (the rescale rule and the chain rule for multipliers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from headrace.errors import Unsupported


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLOSE = 1e-7
"""Inputs closer than this get the derivative: the quotient of two roundings says nothing."""
CHUNK = 64
"""Targets explained in one pass."""
ELEMENTWISE = _words("""abs celu clamp clamp_max clamp_min clip cos elu erf exp expm1 gelu hardshrink hardsigmoid hardswish
    hardtanh leaky_relu log log1p logit logsigmoid mish pow __pow__ __rpow__ prelu reciprocal relu relu6 rsqrt selu sigmoid
    silu sin softplus softshrink softsign sqrt square tan tanh tanhshrink threshold atan sinh cosh log_sigmoid""")
"""Functions of one tensor, value by value, by the name torch gives them."""
TIMES = _words("mul multiply __mul__ __rmul__ __imul__")
MATRIX = _words("matmul __matmul__ __rmatmul__ mm bmm mv")
DIVIDED = _words("div divide true_divide __truediv__ __rtruediv__ __itruediv__ __div__ __rdiv__")
_LINEAR = _words("""Secant Product Add Sub Rsub Neg View UnsafeView ReshapeAlias T Transpose Permute Select Slice Unsqueeze
    Squeeze Expand Cat Stack Split SplitWithSizes Chunk Unbind Sum Mean Clone Copy Alias Index IndexSelect Flip
    Roll ConstantPadNd Diagonal Repeat Narrow Movedim Swapaxes Cumsum ToCopy AvgPool2D AdaptiveAvgPool2D
    AdaptiveAvgPool1D AvgPool1D ReplicationPad1D ReflectionPad1D Unfold NativeBatchNorm CudnnBatchNorm
    AccumulateGrad Detach Contiguous AsStrided Reshape UnsafeSplit CopySlices""")
"""Nodes of autograd's graph whose gradient is their multiplier."""
_BILINEAR = {"Mul": (0, 1), "Mm": (0, 1), "Bmm": (0, 1), "Mv": (0, 1), "Dot": (0, 1), "Addmm": (1, 2), "Baddbmm": (1, 2),
             "Addmv": (1, 2), "Linear": (0, 1), "Convolution": (0, 1)}  # fmt: skip
"""Nodes that multiply the inputs at these places: linear while only one of the two varies."""


class Secant(Function):
    """A value whose gradient is the given multiplier."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, multiplier: Tensor, u: Tensor) -> Tensor:
        ctx.save_for_backward(multiplier)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (multiplier,) = ctx.saved_tensors
        return None, None, grad * multiplier


class Product(Function):
    """a * b whose gradients are the given means."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, mean_a: Tensor, mean_b: Tensor) -> Tensor:
        ctx.save_for_backward(mean_a, mean_b)
        ctx.shapes = a.shape, b.shape
        return a * b

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        mean_a, mean_b = ctx.saved_tensors
        a, b = ctx.shapes
        return (grad * mean_b).sum_to_size(a), (grad * mean_a).sum_to_size(b), None, None


_secant: Callable[..., Tensor] = Secant.apply
_product: Callable[..., Tensor] = Product.apply


class Rules(TorchFunctionMode):
    """Sees every torch function of a module; writes down what the baseline gives, then puts multipliers in.

    Args:
        known: what a run on the baseline wrote down, for the run on the example.
    """

    def __init__(self, known: Sequence[tuple[str, tuple[Tensor, ...]]] | None = None) -> None:
        super().__init__()
        self.written: list[tuple[str, tuple[Tensor, ...]]] = []
        self._known = None if known is None else iter(known)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
        if rule is None:
            return func(*args, **(kwargs or {}))
        return rule(self, func, args, kwargs or {})

    def end(self) -> None:
        """Raises Unsupported if the baseline went on where the example did not."""
        if self._known is not None and next(self._known, None) is not None:
            raise _branches()

    def _meet(self, name: str, *now: Tensor) -> tuple[Tensor, ...]:
        """What the baseline had at this place; the first time, this is it."""
        if self._known is None:
            self.written.append((name, tuple(one.detach() for one in now)))
            return now
        before = next(self._known, None)
        if before is None or before[0] != name or any(a.shape != b.shape for a, b in zip(before[1], now, strict=True)):
            raise _branches()
        return before[1]

    def secant(self, g: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
        """g(u) by the rescale rule."""
        point = u.detach()
        value = g(point)
        u0, value0 = self._meet("secant", point, value)
        if self._known is None:
            return _secant(value, torch.ones_like(value), u)
        moved = point - u0
        close = moved.abs() < CLOSE
        multiplier = (value - value0) / torch.where(close, 1.0, moved)
        if close.any():
            multiplier = torch.where(close, _slope(g, (point + u0) / 2), multiplier)
        return _secant(value, multiplier, u)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """a * b by the product rule; for a constant factor the ordinary one."""
        now = a.detach(), b.detach()
        a0, b0 = self._meet("product", *now)
        return _product(a, b, (now[0] + a0) / 2, (now[1] + b0) / 2)

    def matrix(self, func: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        """A product of matrices by the product rule: its value, and beside it terms that are zero and have the gradients."""
        now = a.detach(), b.detach()
        a0, b0 = self._meet("matrix", *now)
        mean_a, mean_b = (now[0] + a0) / 2, (now[1] + b0) / 2
        return func(*now) + func(a - now[0], mean_b) + func(mean_a, b - now[1])


def contributions(module: nn.Module, x: Tensor, baseline: Tensor, horizon: int, *, check: bool) -> Tensor:
    """(horizon, *x.shape) contributions to f(x) - f(baseline), float64, every target at once.

    Args:
        module: (n, *x.shape) in, (n, horizon) out, float64; an example's output depends on that example alone.
        check: look for operations without a rule; a module that has passed once needs it no more.

    Raises:
        Unsupported: it holds an operation without a rule (named), or goes another way for the baseline.
    """
    parts = []
    for targets in torch.split(torch.arange(horizon), CHUNK):
        before, _, _ = _run(module, baseline, len(targets), None)
        _, inputs, outputs = _run(module, x, len(targets), before.written)
        if check:
            refuse_unknown(outputs)
        chosen = outputs[torch.arange(len(targets)), targets].sum()
        if not chosen.requires_grad:  # it does not depend on its inputs at all
            parts.append(torch.zeros_like(inputs))
            continue
        (multipliers,) = torch.autograd.grad(chosen, inputs)
        parts.append(multipliers * (x - baseline))
    return torch.cat(parts).detach()


def _run(module: nn.Module, x: Tensor, n: int, known: Any) -> tuple[Rules, Tensor, Tensor]:
    """The module on n copies of x: one for each target, so that one backward pass gives all multipliers."""
    inputs = x.expand(n, *x.shape).clone().requires_grad_()
    with torch.enable_grad(), Rules(known) as rules:
        outputs: Tensor = module(inputs)
    rules.end()
    return rules, inputs, outputs


def refuse_unknown(outputs: Tensor) -> None:
    """Raises Unsupported, with its name, for an operation on the way to `outputs` that has no rule."""
    seen: set[Any] = set()
    todo = [outputs.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        before = [one for one, _ in node.next_functions]
        name = node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
        factors = _BILINEAR.get(name, (1,) if name == "Div" else ())
        varying = sum(before[place] is not None for place in factors if place < len(before))
        if (name not in _LINEAR and not factors) or varying > (name != "Div"):
            raise Unsupported(
                detail=f"deeplift has no rule for the operation {name!r} in this network; use sampling or integrated_gradients"
            )
        todo += before


def _branches() -> Unsupported:
    return Unsupported(
        detail="deeplift needs a network that takes the same way for every input, and this one takes another for the "
        "baseline; use sampling"
    )


def _slope(g: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    with torch.enable_grad():
        point = u.detach().requires_grad_()
        (slope,) = torch.autograd.grad(g(point).sum(), point)
    return slope.detach()


def _varies(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


# -- the rules, by the names of torch functions


def _elementwise(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    name = func.__name__
    first, rest = (args[0], args[1:]) if args else (kwargs["input"], ())
    more = {key: value for key, value in kwargs.items() if key not in ("input", "out", "inplace")}
    if not _varies(first) or any(_varies(value) for value in (*rest, *more.values())):
        return func(*args, **kwargs)  # nothing to do; or two tensors that vary, which is refused later
    if name.endswith("_") and not name.endswith("__"):  # in place: the rule needs the input as it was
        func = getattr(torch.Tensor, name.removesuffix("_"), None) or getattr(F, name.removesuffix("_"))
    return rules.secant(lambda u: func(u, *rest, **more), first)


def _times(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    pair = [*args, *kwargs.values()][:2]
    if not all(map(_varies, pair)):
        return func(*args, **kwargs)
    return rules.product(*pair)


def _matrix(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    pair = [*args, *kwargs.values()][:2]
    if not all(map(_varies, pair)):
        return func(*args, **kwargs)
    return rules.matrix(func, *pair)


def _divided(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    over, under = args if len(args) == 2 else (args[0], kwargs.get("other"))
    if func.__name__ in ("__rtruediv__", "__rdiv__"):
        over, under = under, over
    if not _varies(under) or kwargs.get("rounding_mode") is not None:
        return func(*args, **kwargs)
    inverse = rules.secant(torch.reciprocal, under)
    return rules.product(over, inverse) if _varies(over) else over * inverse


def _softmax(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    u = args[0] if args else kwargs["input"]
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if not _varies(u) or dim is None:
        return func(*args, **kwargs)
    (highest,) = rules._meet("softmax", u.detach().amax(dim, keepdim=True))  # any constant will do: the baseline's
    parts = rules.secant(torch.exp, u - highest)
    return rules.product(parts, rules.secant(torch.reciprocal, parts.sum(dim, keepdim=True)))


def _layer_norm(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    def parts(
        input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5,
        *_: Any,
    ) -> Tensor:  # fmt: skip
        axes = tuple(range(-len(tuple(normalized_shape)), 0))
        centred = input - input.mean(axes, keepdim=True)
        variance = rules.product(centred, centred).mean(axes, keepdim=True)
        normal = rules.product(centred, rules.secant(torch.rsqrt, variance + eps))
        normal = normal if weight is None else normal * weight
        return normal if bias is None else normal + bias

    return parts(*args, **kwargs) if _varies(args[0]) else func(*args, **kwargs)


# -- recurrent layers, cell by cell (gate orders and formulas: the documentation of torch.nn.GRU, LSTM, RNN)


def _gru_cell(rules: Rules, gate: Tensor, state: tuple[Tensor, ...], w: Tensor, b: Tensor | None) -> tuple[Tensor, ...]:
    (h,) = state
    size = h.shape[-1]
    own = F.linear(h, w, b)
    both = rules.secant(torch.sigmoid, gate[..., : 2 * size] + own[..., : 2 * size])
    reset, update = both[..., :size], both[..., size:]
    new = rules.secant(torch.tanh, gate[..., 2 * size :] + rules.product(reset, own[..., 2 * size :]))
    return (new + rules.product(update, h - new),)


def _lstm_cell(
    rules: Rules, gate: Tensor, state: tuple[Tensor, ...], w: Tensor, b: Tensor | None
) -> tuple[Tensor, ...]:
    h, c = state
    size = c.shape[-1]
    whole = gate + F.linear(h, w, b)
    both = rules.secant(torch.sigmoid, whole[..., : 2 * size])
    cell = rules.secant(torch.tanh, whole[..., 2 * size : 3 * size])
    out = rules.secant(torch.sigmoid, whole[..., 3 * size :])
    c = rules.product(both[..., size:], c) + rules.product(both[..., :size], cell)
    return rules.product(out, rules.secant(torch.tanh, c)), c


def _rnn_cell(activation: Callable[[Tensor], Tensor]) -> Any:
    def cell(rules: Rules, gate: Tensor, state: tuple[Tensor, ...], w: Tensor, b: Tensor | None) -> tuple[Tensor, ...]:
        return (rules.secant(activation, gate + F.linear(state[0], w, b)),)

    return cell


_CELLS: dict[str, Any] = {
    "gru": _gru_cell, "lstm": _lstm_cell, "rnn_tanh": _rnn_cell(torch.tanh), "rnn_relu": _rnn_cell(torch.relu),
}  # fmt: skip


def _layer(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    """gru(input, hx, weights, has_biases, layers, dropout, train, bidirectional, batch_first) and its relatives."""
    if kwargs or len(args) != 9 or (isinstance(args[1], Tensor) and args[1].dim() == 1):
        raise Unsupported(detail="deeplift has no rule for recurrent layers over packed sequences; use sampling")
    series, start, weights, biases, layers, dropout, train, both_ways, batch_first = args
    if dropout and train:
        raise Unsupported(detail="deeplift explains a network in evaluation mode, and its recurrent layer is training")
    each = 4 if biases else 2
    ways = 2 if both_ways else 1
    if len(weights) != each * layers * ways:
        raise Unsupported(detail="deeplift has no rule for an LSTM with projections; use sampling")
    name = func.__name__
    starts = start if name == "lstm" else (start,)
    steps = series.transpose(0, 1) if batch_first else series
    ends: list[tuple[Tensor, ...]] = []
    for layer in range(layers):
        made = []
        for way in range(ways):
            place = layer * ways + way
            mine = weights[place * each : (place + 1) * each]
            outputs, end = _direction(rules, _CELLS[name], steps, tuple(one[place] for one in starts), mine, way == 1)
            made.append(outputs)
            ends.append(end)
        steps = torch.cat(made, dim=-1)
    last = [torch.stack(one) for one in zip(*ends, strict=True)]
    return (steps.transpose(0, 1) if batch_first else steps, *last)


def _direction(
    rules: Rules, cell: Any, steps: Tensor, state: tuple[Tensor, ...], weights: Sequence[Tensor], backwards: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction over (time, n, fields): its states over time, and the last."""
    inner, own = weights[0], weights[1]
    inner_bias, own_bias = (weights[2], weights[3]) if len(weights) == 4 else (None, None)
    gates = F.linear(steps, inner, inner_bias).unbind(0)
    made = []
    for gate in reversed(gates) if backwards else gates:
        state = cell(rules, gate, state, own, own_bias)
        made.append(state[0])
    return torch.stack(made[::-1] if backwards else made), state


def _single(rules: Rules, func: Any, args: Any, kwargs: Any) -> Any:
    """gru_cell(input, hx, w_ih, w_hh, b_ih, b_hh) and its relatives."""
    x, state, inner, own, inner_bias, own_bias = (*args, *kwargs.values(), None, None)[:6]
    name = func.__name__.removesuffix("_cell")
    states = tuple(state) if name == "lstm" else (state,)
    made = _CELLS[name](rules, F.linear(x, inner, inner_bias), states, own, own_bias)
    return made if name == "lstm" else made[0]


def _named() -> Iterator[tuple[str, Any]]:
    for names, rule in ((ELEMENTWISE, _elementwise), (TIMES, _times), (MATRIX, _matrix), (DIVIDED, _divided)):
        yield from ((name, rule) for name in names)
    yield "softmax", _softmax
    yield "layer_norm", _layer_norm
    for name in _CELLS:
        yield name, _layer
        yield f"{name}_cell", _single


_RULES = dict(_named())
