"""The contract of a Decoder: pure, quick to refuse, and nothing but Undecodable on whatever a stranger sends."""

from __future__ import annotations

import math
import random
import time as clock
from collections.abc import Callable, Iterable

from headrace.errors import Undecodable
from headrace.records import DAY, SECOND, Reading
from headrace.streams.decoders import Decoder

Make = Callable[[], Decoder]
RECEIVED = 1_700_000_000 * SECOND
TOPIC = "plant/inverter-7/power"
_OLDEST = 631_152_000 * SECOND
_SLOWEST = 10.0
"""Seconds for one payload, on any machine."""

_GOOD = (
    b'{"ts":1700000000000,"device":"d1","power":812.5,"on":true,"mode":"auto","x":null}',
    b'{"Time":"2023-11-14T22:13:20","ENERGY":{"Power":120,"Phase":[1,2]}}',
    b'[{"ts":1699999999000,"values":{"a":1}},{"ts":1700000000000,"values":{"a":2}}]',
    b'{"Dev A":[{"ts":1700000000000,"values":{"a":1}}]}',
    b'{"a":1}\n{"a":2}\n',
    b"21.5",
    b"on",
    b'[{"bn":"urn:dev:1:","bt":1.7e9,"bu":"A","n":"current","v":1.2},{"n":"voltage","u":"V","v":230}]',
    b'weather,device=roof,site=a\\ b temperature=21.5,open=t,n=3i,s="a \\"b\\"" 1700000000000000000\n# note\n',
)
_BAD = (
    b"",
    b" \n",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"{",
    b"[]",
    b"[1,2]",
    b"{}",
    b"null",
    b"NaN",
    b"-inf",
    b"1e999",
    b'{"a":NaN}',
    b'{"a":1e999}',
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b'{"":1}',
    b'{"a":1,"a":2}',
    b'{"a\\u003a":1,"a\\u003a":2}',
    b'{"ts":1,"a":1}',
    b'{"ts":99999999999999999999,"a":1}',
    b'{"ts":"0001-01-01T00:00:00+23:59","a":1}',
    b'{"time":"soon","a":1}',
    b'{"a":' + b"9" * 400 + b"}",
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"' + b"k" * 100_000 + b'":1}',
    b'{"a":"' + b"x" * 100_000 + b'"}',
    b"[" * 100_000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"{" + b",".join(b'"f%d":%d' % (index, index) for index in range(100_000)) + b"}",
    b"[" + b",".join([b'{"a":1}'] * 50_000) + b"]",
    b"[" + b",".join([b'{"n":"a","v":1}'] * 50_000) + b"]",
    b"m " + b",".join(b"f%d=1" % index for index in range(100_000)),
    b"m a=1\n" * 50_000,
    b"m a=nan",
    b"m a=1 1",
    b"m a=1,a=2",
    b'm a="' + b"\\" * 10_001,
    b"m" + b",t=1" * 100_000,
    b"\\" * 100_000,
    b"#" * 100_000,
    b" " * 100_000 + b"x",
    b"\n" * 100_000 + b"{",
    b"1" * 100_000,
    b'[{"bver":99,"n":"a","v":1}]',
    b'[{"n":"a","v":1,"x_":1}]',
    b'[{"n":"a","v":1e308,"bv":1e308}]',
    b'[{"n":"a","v":1,"t":1e308}]',
)


def check_decoder(make: Make, *, seed: int = 0, rounds: int = 3000) -> None:
    """Run the whole suite on what `make` returns.

    Raises:
        AssertionError: the decoder breaks its contract.
    """
    one, other = make(), make()
    decoded = 0
    for payload in payloads(seed, rounds):
        for topic in (TOPIC, "x", "", "/"):
            decoded += _check_payload(one, other, topic, payload)
    assert decoded, "the decoder understood none of the suite's payloads"


def payloads(seed: int, rounds: int) -> Iterable[bytes]:
    """Good, bad, random and damaged payloads, the same for the same `seed`."""
    yield from _GOOD
    yield from _BAD
    chance = random.Random(seed)  # noqa: S311
    alphabet = b'{}[]":,.-+eE0123456789 tfnulrasvbi=\\\n\t#\xc3\xa9\xff'
    for _ in range(rounds):
        yield bytes(chance.choices(alphabet, k=chance.randrange(1, 40)))
        yield _damaged(chance, chance.choice(_GOOD), alphabet)


def _damaged(chance: random.Random, good: bytes, alphabet: bytes) -> bytes:
    broken = bytearray(good)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(broken))
        match chance.randrange(3):
            case 0:
                broken[place] = chance.choice(alphabet)
            case 1:
                broken.insert(place, chance.choice(alphabet))
            case _:
                del broken[place : place + chance.randrange(1, 8)]
                broken = broken or bytearray(b"0")
    return bytes(broken)


def _check_payload(one: Decoder, other: Decoder, topic: str, payload: bytes) -> bool:
    shown = payload[:60]
    began = clock.perf_counter()
    first = _outcome(one, topic, payload)
    assert clock.perf_counter() - began < _SLOWEST, f"{shown!r} took more than {_SLOWEST:.0f} s"
    assert first == _outcome(one, topic, payload), f"{shown!r} gives something else the second time"
    assert first == _outcome(other, topic, payload), f"{shown!r} gives something else in a fresh decoder"
    columns = one.columns([topic] * 3, [payload] * 3, [RECEIVED] * 3) if hasattr(one, "columns") else None
    assert columns is None or [columns.reading(place) for place in range(3)] == [*first] * 3, (
        f"{shown!r} gives something else where many are read at once"
    )
    if isinstance(first, str):
        assert len(first) < 700, f"the reason for {shown!r} is too long to read"
        return False
    assert first, f"{shown!r} gives no readings and no reason"
    for reading in first:
        _check_reading(reading, shown)
    return True


def _outcome(decoder: Decoder, topic: str, payload: bytes) -> list[Reading] | str:
    try:
        decoder.sniff(topic, payload)
        return decoder.decode(topic, payload, RECEIVED)
    except Undecodable as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{payload[:60]!r} raises {type(error).__name__}: {error}") from error


def _check_reading(reading: Reading, shown: bytes) -> None:
    assert reading.device and len(reading.device) <= 65_535, f"{shown!r} gives no device"
    assert type(reading.time) is int, f"{shown!r} gives a time that is no int"
    assert _OLDEST <= reading.time <= RECEIVED + DAY, f"{shown!r} gives the time {reading.time}"
    assert reading.fields, f"{shown!r} gives a reading without fields"
    for name, value in reading.fields.items():
        assert name and isinstance(name, str), f"{shown!r} gives a field without a name"
        assert type(value) in (float, bool, str), f"{shown!r} gives {name} = {value!r}"
        assert not isinstance(value, float) or math.isfinite(value), f"{shown!r} gives {name} = {value}"
