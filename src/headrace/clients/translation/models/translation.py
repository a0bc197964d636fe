from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.translation_dropout import TranslationDropout, check_translation_dropout
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.parity import Parity
    from ..models.translation_versions import TranslationVersions


T = TypeVar("T", bound="Translation")


@_attrs_define
class Translation:
    """What a model was translated from, how, and how well.

    Attributes:
        of (str): id of the original
        digest (str): of the original's files
        framework (str): of the original: torch, sklearn, keras, tensorflow
        exporter (str): what wrote it, e.g. torchscript
        opset (int):
        dtypes (str): what became of number types, e.g. `float64 to float32`
        versions (TranslationVersions): package -> version, of what translated and compared
        parity (Parity): How far a translated model's answers are from those of its original, asked the same in the
            sandbox that translated it.
        dropout (TranslationDropout | Unset): mode the original was exported in Default: 'eval'.
    """

    of: str
    digest: str
    framework: str
    exporter: str
    opset: int
    dtypes: str
    versions: TranslationVersions
    parity: Parity
    dropout: TranslationDropout | Unset = "eval"

    def to_dict(self) -> dict[str, Any]:
        of = self.of

        digest = self.digest

        framework = self.framework

        exporter = self.exporter

        opset = self.opset

        dtypes = self.dtypes

        versions = self.versions.to_dict()

        parity = self.parity.to_dict()

        dropout: str | Unset = UNSET
        if not isinstance(self.dropout, Unset):
            dropout = self.dropout

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "of": of,
                "digest": digest,
                "framework": framework,
                "exporter": exporter,
                "opset": opset,
                "dtypes": dtypes,
                "versions": versions,
                "parity": parity,
            }
        )
        if dropout is not UNSET:
            field_dict["dropout"] = dropout

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.parity import Parity
        from ..models.translation_versions import TranslationVersions

        d = dict(src_dict)
        of = d.pop("of")

        digest = d.pop("digest")

        framework = d.pop("framework")

        exporter = d.pop("exporter")

        opset = d.pop("opset")

        dtypes = d.pop("dtypes")

        versions = TranslationVersions.from_dict(d.pop("versions"))

        parity = Parity.from_dict(d.pop("parity"))

        _dropout = d.pop("dropout", UNSET)
        dropout: TranslationDropout | Unset
        if isinstance(_dropout, Unset):
            dropout = UNSET
        else:
            dropout = check_translation_dropout(_dropout)

        translation = cls(
            of=of,
            digest=digest,
            framework=framework,
            exporter=exporter,
            opset=opset,
            dtypes=dtypes,
            versions=versions,
            parity=parity,
            dropout=dropout,
        )

        return translation
