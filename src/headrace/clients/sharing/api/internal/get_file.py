from http import HTTPStatus
from io import BytesIO
from typing import Any, cast
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.get_file_right import GetFileRight
from ...models.get_file_role import GetFileRole
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    id: str,
    *,
    path: str,
    right: GetFileRight | Unset = "read",
    role: GetFileRole | Unset = "content",
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["path"] = path

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
        "url": "/internal/assets/{id}/file".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Any | Failure | File | None:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

        return response_200

    if response.status_code == 206:
        response_206 = File(payload=BytesIO(response.content))

        return response_206

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

    if response.status_code == 416:
        response_416 = cast(Any, None)
        return response_416

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
) -> Response[Any | Failure | File]:
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
    path: str,
    right: GetFileRight | Unset = "read",
    role: GetFileRole | Unset = "content",
) -> Response[Any | Failure | File]:
    """One file of a content; `Range` is understood

     One file of a content; `Range` is understood. It breaks off when the right ends meanwhile.

    Args:
        id (str):
        path (str):
        right (GetFileRight | Unset): what it is wanted for Default: 'read'.
        role (GetFileRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | Failure | File]
    """

    kwargs = _get_kwargs(
        id=id,
        path=path,
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
    path: str,
    right: GetFileRight | Unset = "read",
    role: GetFileRole | Unset = "content",
) -> Any | Failure | File | None:
    """One file of a content; `Range` is understood

     One file of a content; `Range` is understood. It breaks off when the right ends meanwhile.

    Args:
        id (str):
        path (str):
        right (GetFileRight | Unset): what it is wanted for Default: 'read'.
        role (GetFileRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | Failure | File
    """

    return sync_detailed(
        id=id,
        client=client,
        path=path,
        right=right,
        role=role,
    ).parsed


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    path: str,
    right: GetFileRight | Unset = "read",
    role: GetFileRole | Unset = "content",
) -> Response[Any | Failure | File]:
    """One file of a content; `Range` is understood

     One file of a content; `Range` is understood. It breaks off when the right ends meanwhile.

    Args:
        id (str):
        path (str):
        right (GetFileRight | Unset): what it is wanted for Default: 'read'.
        role (GetFileRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | Failure | File]
    """

    kwargs = _get_kwargs(
        id=id,
        path=path,
        right=right,
        role=role,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    path: str,
    right: GetFileRight | Unset = "read",
    role: GetFileRole | Unset = "content",
) -> Any | Failure | File | None:
    """One file of a content; `Range` is understood

     One file of a content; `Range` is understood. It breaks off when the right ends meanwhile.

    Args:
        id (str):
        path (str):
        right (GetFileRight | Unset): what it is wanted for Default: 'read'.
        role (GetFileRole | Unset):  Default: 'content'.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | Failure | File
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            path=path,
            right=right,
            role=role,
        )
    ).parsed
