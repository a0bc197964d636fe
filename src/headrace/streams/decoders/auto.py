"""Detection without state: the first of `ORDER` whose `sniff` says yes decodes, whatever came before.

The order is fixed: SenML (an array of records with names and values), then any other JSON, then a bare number or switch
state, then line protocol. There is no second try: if the decoder chosen refuses the payload, its reason is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import Undecodable
from headrace.plugins import Params
from headrace.records import Reading
from headrace.streams.decoders import build, rules
from headrace.streams.decoders.columnar import Columns
from headrace.streams.decoders.json import JsonDecoder, JsonParams

ORDER = ("senml", "json", "number", "lineprotocol")


class AutoParams(Params):
    """Nothing to set: a decoder with settings is named itself."""


class AutoDecoder:
    """Decodes what any of `ORDER` decodes."""

    Params = AutoParams

    def __init__(self, params: AutoParams) -> None:
        self.params = params
        self._json = JsonDecoder(JsonParams())
        self._decoders = [(name, self._json if name == "json" else build(name)) for name in ORDER]

    def sniff(self, topic: str, payload: bytes) -> bool:
        return self.which(topic, payload) is not None

    def which(self, topic: str, payload: bytes) -> str | None:
        """The name of the decoder that would decode this payload; `headrace inspect` shows it."""
        return next((name for name, decoder in self._decoders if decoder.sniff(topic, payload)), None)

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes], received: Sequence[int]) -> Columns | None:
        """See `JsonDecoder.columns`, which asks that every payload begins as `decode` wants it for JSON."""
        return self._json.columns(topics, payloads, received)

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        if payload[:1] == b"{":  # neither SenML nor anything but JSON begins so
            return self._json.decode(topic, payload, received)
        for _, decoder in self._decoders:
            if decoder.sniff(topic, payload):
                return decoder.decode(topic, payload, received)
        rules.check_bytes(payload)
        raise Undecodable(
            detail=f"the payload is not JSON, SenML, a number or line protocol: it starts {rules.preview(payload)}; "
            "send one of these, or name a decoder in the spec"
        )
