from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Limits")


@_attrs_define
class Limits:
    """What a job's whole process tree may use.

    Attributes:
        memory_bytes (int | Unset): including what it has written to /work/output and /tmp, which is in memory until the
            run ends Default: 2147483648.
        cpus (float | Unset): processor cores; also the number of threads of numeric libraries Default: 1.0.
        processes (int | Unset): processes and threads Default: 64.
        seconds (float | Unset): wall time Default: 3600.0.
        output_bytes (int | Unset):  Default: 2147483648.
        output_files (int | Unset):  Default: 1000.
        log_bytes (int | Unset):  Default: 4194304.
    """

    memory_bytes: int | Unset = 2147483648
    cpus: float | Unset = 1.0
    processes: int | Unset = 64
    seconds: float | Unset = 3600.0
    output_bytes: int | Unset = 2147483648
    output_files: int | Unset = 1000
    log_bytes: int | Unset = 4194304

    def to_dict(self) -> dict[str, Any]:
        memory_bytes = self.memory_bytes

        cpus = self.cpus

        processes = self.processes

        seconds = self.seconds

        output_bytes = self.output_bytes

        output_files = self.output_files

        log_bytes = self.log_bytes

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if memory_bytes is not UNSET:
            field_dict["memory_bytes"] = memory_bytes
        if cpus is not UNSET:
            field_dict["cpus"] = cpus
        if processes is not UNSET:
            field_dict["processes"] = processes
        if seconds is not UNSET:
            field_dict["seconds"] = seconds
        if output_bytes is not UNSET:
            field_dict["output_bytes"] = output_bytes
        if output_files is not UNSET:
            field_dict["output_files"] = output_files
        if log_bytes is not UNSET:
            field_dict["log_bytes"] = log_bytes

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        memory_bytes = d.pop("memory_bytes", UNSET)

        cpus = d.pop("cpus", UNSET)

        processes = d.pop("processes", UNSET)

        seconds = d.pop("seconds", UNSET)

        output_bytes = d.pop("output_bytes", UNSET)

        output_files = d.pop("output_files", UNSET)

        log_bytes = d.pop("log_bytes", UNSET)

        limits = cls(
            memory_bytes=memory_bytes,
            cpus=cpus,
            processes=processes,
            seconds=seconds,
            output_bytes=output_bytes,
            output_files=output_files,
            log_bytes=log_bytes,
        )

        return limits
