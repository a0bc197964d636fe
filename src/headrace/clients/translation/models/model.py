from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.model_anchoring import ModelAnchoring, check_model_anchoring
from ..models.model_reproducible import ModelReproducible, check_model_reproducible
from ..models.model_state import ModelState, check_model_state
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.model_environment import ModelEnvironment
    from ..models.model_metadata import ModelMetadata
    from ..models.model_metrics import ModelMetrics
    from ..models.output_file import OutputFile
    from ..models.recipe import Recipe
    from ..models.snapshot import Snapshot
    from ..models.translation import Translation


T = TypeVar("T", bound="Model")


@_attrs_define
class Model:
    """A registered model: trained here from a recipe, uploaded as it is, translated, or learned online.

    Attributes:
        id (str):
        company (str): the owner
        name (str):
        created_ms (int):
        created_by (str):
        state (ModelState):
        description (str | Unset):  Default: ''.
        recipe (None | Recipe | Unset): null: uploaded, trained elsewhere
        job (str | Unset): id of the job that trained it Default: ''.
        parent (str | Unset):  Default: ''.
        datasets (list[str] | Unset): ids of what it was trained on
        files (list[OutputFile] | Unset):
        digest (str | Unset): digest over the names and digests of all files Default: ''.
        framework (str | Unset):  Default: ''.
        input_shape (list[int] | None | Unset):
        output_shape (list[int] | None | Unset):
        parameters (int | None | Unset): number of trained parameters
        metadata (ModelMetadata | Unset): whatever else the format tells
        metrics (ModelMetrics | Unset):
        fingerprint (str | Unset): digest of the environment it was trained, or translated, in Default: ''.
        environment (ModelEnvironment | Unset): that environment, readable
        reproducible (ModelReproducible | Unset):  Default: 'unknown'.
        reproducible_note (str | Unset): what the word above rests on Default: ''.
        held_for (list[str] | Unset): companies whose data it was trained on and that have not released it
        translation (None | Translation | Unset): set when it was translated from its parent
        snapshot (None | Snapshot | Unset): set when an online model published it
        confidential (bool | Unset): its metadata are encrypted beside the ledger, which holds their digest Default:
            False.
        contract (str | Unset): address of its contract; of a snapshot that of the contract its batch was anchored in;
            empty: not recorded yet Default: ''.
        anchoring (ModelAnchoring | Unset): off: no ledger here; waiting; anchored: the ledger has its claim, and a
            training's result; failed: see the note Default: 'off'.
        anchoring_note (str | Unset): what it waits for, or why it failed Default: ''.
        deleted_ms (int | None | Unset):
    """

    id: str
    company: str
    name: str
    created_ms: int
    created_by: str
    state: ModelState
    description: str | Unset = ""
    recipe: None | Recipe | Unset = UNSET
    job: str | Unset = ""
    parent: str | Unset = ""
    datasets: list[str] | Unset = UNSET
    files: list[OutputFile] | Unset = UNSET
    digest: str | Unset = ""
    framework: str | Unset = ""
    input_shape: list[int] | None | Unset = UNSET
    output_shape: list[int] | None | Unset = UNSET
    parameters: int | None | Unset = UNSET
    metadata: ModelMetadata | Unset = UNSET
    metrics: ModelMetrics | Unset = UNSET
    fingerprint: str | Unset = ""
    environment: ModelEnvironment | Unset = UNSET
    reproducible: ModelReproducible | Unset = "unknown"
    reproducible_note: str | Unset = ""
    held_for: list[str] | Unset = UNSET
    translation: None | Translation | Unset = UNSET
    snapshot: None | Snapshot | Unset = UNSET
    confidential: bool | Unset = False
    contract: str | Unset = ""
    anchoring: ModelAnchoring | Unset = "off"
    anchoring_note: str | Unset = ""
    deleted_ms: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.recipe import Recipe
        from ..models.snapshot import Snapshot
        from ..models.translation import Translation

        id = self.id

        company = self.company

        name = self.name

        created_ms = self.created_ms

        created_by = self.created_by

        state: str = self.state

        description = self.description

        recipe: dict[str, Any] | None | Unset
        if isinstance(self.recipe, Unset):
            recipe = UNSET
        elif isinstance(self.recipe, Recipe):
            recipe = self.recipe.to_dict()
        else:
            recipe = self.recipe

        job = self.job

        parent = self.parent

        datasets: list[str] | Unset = UNSET
        if not isinstance(self.datasets, Unset):
            datasets = self.datasets

        files: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.files, Unset):
            files = []
            for files_item_data in self.files:
                files_item = files_item_data.to_dict()
                files.append(files_item)

        digest = self.digest

        framework = self.framework

        input_shape: list[int] | None | Unset
        if isinstance(self.input_shape, Unset):
            input_shape = UNSET
        elif isinstance(self.input_shape, list):
            input_shape = self.input_shape

        else:
            input_shape = self.input_shape

        output_shape: list[int] | None | Unset
        if isinstance(self.output_shape, Unset):
            output_shape = UNSET
        elif isinstance(self.output_shape, list):
            output_shape = self.output_shape

        else:
            output_shape = self.output_shape

        parameters: int | None | Unset
        if isinstance(self.parameters, Unset):
            parameters = UNSET
        else:
            parameters = self.parameters

        metadata: dict[str, Any] | Unset = UNSET
        if not isinstance(self.metadata, Unset):
            metadata = self.metadata.to_dict()

        metrics: dict[str, Any] | Unset = UNSET
        if not isinstance(self.metrics, Unset):
            metrics = self.metrics.to_dict()

        fingerprint = self.fingerprint

        environment: dict[str, Any] | Unset = UNSET
        if not isinstance(self.environment, Unset):
            environment = self.environment.to_dict()

        reproducible: str | Unset = UNSET
        if not isinstance(self.reproducible, Unset):
            reproducible = self.reproducible

        reproducible_note = self.reproducible_note

        held_for: list[str] | Unset = UNSET
        if not isinstance(self.held_for, Unset):
            held_for = self.held_for

        translation: dict[str, Any] | None | Unset
        if isinstance(self.translation, Unset):
            translation = UNSET
        elif isinstance(self.translation, Translation):
            translation = self.translation.to_dict()
        else:
            translation = self.translation

        snapshot: dict[str, Any] | None | Unset
        if isinstance(self.snapshot, Unset):
            snapshot = UNSET
        elif isinstance(self.snapshot, Snapshot):
            snapshot = self.snapshot.to_dict()
        else:
            snapshot = self.snapshot

        confidential = self.confidential

        contract = self.contract

        anchoring: str | Unset = UNSET
        if not isinstance(self.anchoring, Unset):
            anchoring = self.anchoring

        anchoring_note = self.anchoring_note

        deleted_ms: int | None | Unset
        if isinstance(self.deleted_ms, Unset):
            deleted_ms = UNSET
        else:
            deleted_ms = self.deleted_ms

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "company": company,
                "name": name,
                "created_ms": created_ms,
                "created_by": created_by,
                "state": state,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description
        if recipe is not UNSET:
            field_dict["recipe"] = recipe
        if job is not UNSET:
            field_dict["job"] = job
        if parent is not UNSET:
            field_dict["parent"] = parent
        if datasets is not UNSET:
            field_dict["datasets"] = datasets
        if files is not UNSET:
            field_dict["files"] = files
        if digest is not UNSET:
            field_dict["digest"] = digest
        if framework is not UNSET:
            field_dict["framework"] = framework
        if input_shape is not UNSET:
            field_dict["input_shape"] = input_shape
        if output_shape is not UNSET:
            field_dict["output_shape"] = output_shape
        if parameters is not UNSET:
            field_dict["parameters"] = parameters
        if metadata is not UNSET:
            field_dict["metadata"] = metadata
        if metrics is not UNSET:
            field_dict["metrics"] = metrics
        if fingerprint is not UNSET:
            field_dict["fingerprint"] = fingerprint
        if environment is not UNSET:
            field_dict["environment"] = environment
        if reproducible is not UNSET:
            field_dict["reproducible"] = reproducible
        if reproducible_note is not UNSET:
            field_dict["reproducible_note"] = reproducible_note
        if held_for is not UNSET:
            field_dict["held_for"] = held_for
        if translation is not UNSET:
            field_dict["translation"] = translation
        if snapshot is not UNSET:
            field_dict["snapshot"] = snapshot
        if confidential is not UNSET:
            field_dict["confidential"] = confidential
        if contract is not UNSET:
            field_dict["contract"] = contract
        if anchoring is not UNSET:
            field_dict["anchoring"] = anchoring
        if anchoring_note is not UNSET:
            field_dict["anchoring_note"] = anchoring_note
        if deleted_ms is not UNSET:
            field_dict["deleted_ms"] = deleted_ms

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.model_environment import ModelEnvironment
        from ..models.model_metadata import ModelMetadata
        from ..models.model_metrics import ModelMetrics
        from ..models.output_file import OutputFile
        from ..models.recipe import Recipe
        from ..models.snapshot import Snapshot
        from ..models.translation import Translation

        d = dict(src_dict)
        id = d.pop("id")

        company = d.pop("company")

        name = d.pop("name")

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        state = check_model_state(d.pop("state"))

        description = d.pop("description", UNSET)

        def _parse_recipe(data: object) -> None | Recipe | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                recipe_type_0 = Recipe.from_dict(data)

                return recipe_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Recipe | Unset, data)

        recipe = _parse_recipe(d.pop("recipe", UNSET))

        job = d.pop("job", UNSET)

        parent = d.pop("parent", UNSET)

        datasets = cast(list[str], d.pop("datasets", UNSET))

        _files = d.pop("files", UNSET)
        files: list[OutputFile] | Unset = UNSET
        if _files is not UNSET:
            files = []
            for files_item_data in _files:
                files_item = OutputFile.from_dict(files_item_data)

                files.append(files_item)

        digest = d.pop("digest", UNSET)

        framework = d.pop("framework", UNSET)

        def _parse_input_shape(data: object) -> list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                input_shape_type_0 = cast(list[int], data)

                return input_shape_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | Unset, data)

        input_shape = _parse_input_shape(d.pop("input_shape", UNSET))

        def _parse_output_shape(data: object) -> list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                output_shape_type_0 = cast(list[int], data)

                return output_shape_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | Unset, data)

        output_shape = _parse_output_shape(d.pop("output_shape", UNSET))

        def _parse_parameters(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        parameters = _parse_parameters(d.pop("parameters", UNSET))

        _metadata = d.pop("metadata", UNSET)
        metadata: ModelMetadata | Unset
        if isinstance(_metadata, Unset):
            metadata = UNSET
        else:
            metadata = ModelMetadata.from_dict(_metadata)

        _metrics = d.pop("metrics", UNSET)
        metrics: ModelMetrics | Unset
        if isinstance(_metrics, Unset):
            metrics = UNSET
        else:
            metrics = ModelMetrics.from_dict(_metrics)

        fingerprint = d.pop("fingerprint", UNSET)

        _environment = d.pop("environment", UNSET)
        environment: ModelEnvironment | Unset
        if isinstance(_environment, Unset):
            environment = UNSET
        else:
            environment = ModelEnvironment.from_dict(_environment)

        _reproducible = d.pop("reproducible", UNSET)
        reproducible: ModelReproducible | Unset
        if isinstance(_reproducible, Unset):
            reproducible = UNSET
        else:
            reproducible = check_model_reproducible(_reproducible)

        reproducible_note = d.pop("reproducible_note", UNSET)

        held_for = cast(list[str], d.pop("held_for", UNSET))

        def _parse_translation(data: object) -> None | Translation | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                translation_type_0 = Translation.from_dict(data)

                return translation_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Translation | Unset, data)

        translation = _parse_translation(d.pop("translation", UNSET))

        def _parse_snapshot(data: object) -> None | Snapshot | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                snapshot_type_0 = Snapshot.from_dict(data)

                return snapshot_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Snapshot | Unset, data)

        snapshot = _parse_snapshot(d.pop("snapshot", UNSET))

        confidential = d.pop("confidential", UNSET)

        contract = d.pop("contract", UNSET)

        _anchoring = d.pop("anchoring", UNSET)
        anchoring: ModelAnchoring | Unset
        if isinstance(_anchoring, Unset):
            anchoring = UNSET
        else:
            anchoring = check_model_anchoring(_anchoring)

        anchoring_note = d.pop("anchoring_note", UNSET)

        def _parse_deleted_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        deleted_ms = _parse_deleted_ms(d.pop("deleted_ms", UNSET))

        model = cls(
            id=id,
            company=company,
            name=name,
            created_ms=created_ms,
            created_by=created_by,
            state=state,
            description=description,
            recipe=recipe,
            job=job,
            parent=parent,
            datasets=datasets,
            files=files,
            digest=digest,
            framework=framework,
            input_shape=input_shape,
            output_shape=output_shape,
            parameters=parameters,
            metadata=metadata,
            metrics=metrics,
            fingerprint=fingerprint,
            environment=environment,
            reproducible=reproducible,
            reproducible_note=reproducible_note,
            held_for=held_for,
            translation=translation,
            snapshot=snapshot,
            confidential=confidential,
            contract=contract,
            anchoring=anchoring,
            anchoring_note=anchoring_note,
            deleted_ms=deleted_ms,
        )

        return model
