from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.files import Files
from ...models.list_files_right import ListFilesRight
from ...models.list_files_role import ListFilesRole
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    right: ListFilesRight | Unset = "read",
    role: ListFilesRole | Unset = "content",
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_right: str | Unset = UNSET
    if not isinstance(right, Unset):
        json_right = right

    params["right"] = json_right

    json_role: str | Unset = UNSET
    if not isinstance(role, Unset):
        json_role = role

    params["role"] = json_role

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/internal/assets/{id}/files".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Failure | Files | None:
    if response.status_code == 200:
        response_200 = Files.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Failure.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Failure.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Failure.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = Failure.from_dict(response.json())

        return response_404

    if response.status_code == 409:
        response_409 = Failure.from_dict(response.json())

        return response_409

    if response.status_code == 413:
        response_413 = Failure.from_dict(response.json())

        return response_413

    if response.status_code == 429:
        response_429 = Failure.from_dict(response.json())

        return response_429

    if response.status_code == 501:
        response_501 = Failure.from_dict(response.json())

        return response_501

    if response.status_code == 503:
        response_503 = Failure.from_dict(response.json())

        return response_503

    if response.status_code == 507:
        response_507 = Failure.from_dict(response.json())

        return response_507

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Failure | Files]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    right: ListFilesRight | Unset = "read",
    role: ListFilesRole | Unset = "content",
) -> Response[Failure | Files]:
    """The files of a content, for `get_file`; or the code archive of a recipe, or the records of a dataset
    of a stream

    Args:
        id (str):
        right (ListFilesRight | Unset): what it is wanted for Default: 'read'.
        role (ListFilesRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Files]
    """

    kwargs = _get_kwargs(
        id=id,
        right=right,
        role=role,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    right: ListFilesRight | Unset = "read",
    role: ListFilesRole | Unset = "content",
) -> Failure | Files | None:
    """The files of a content, for `get_file`; or the code archive of a recipe, or the records of a dataset
    of a stream

    Args:
        id (str):
        right (ListFilesRight | Unset): what it is wanted for Default: 'read'.
        role (ListFilesRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Files
    """

    return sync_detailed(
        id=id,
        client=client,
        right=right,
        role=role,
    ).parsed


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    right: ListFilesRight | Unset = "read",
    role: ListFilesRole | Unset = "content",
) -> Response[Failure | Files]:
    """The files of a content, for `get_file`; or the code archive of a recipe, or the records of a dataset
    of a stream

    Args:
        id (str):
        right (ListFilesRight | Unset): what it is wanted for Default: 'read'.
        role (ListFilesRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Files]
    """

    kwargs = _get_kwargs(
        id=id,
        right=right,
        role=role,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    right: ListFilesRight | Unset = "read",
    role: ListFilesRole | Unset = "content",
) -> Failure | Files | None:
    """The files of a content, for `get_file`; or the code archive of a recipe, or the records of a dataset
    of a stream

    Args:
        id (str):
        right (ListFilesRight | Unset): what it is wanted for Default: 'read'.
        role (ListFilesRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Files
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            right=right,
            role=role,
        )
    ).parsed
