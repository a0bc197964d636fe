from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.models import Models
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    snapshots: bool | Unset = False,
    online: str | Unset = "",
    company: str | Unset = "",
    name: str | Unset = "",
    granted: bool | None | Unset = UNSET,
    deleted: bool | Unset = False,
    after: str | Unset = "",
    limit: int | Unset = 100,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["snapshots"] = snapshots

    params["online"] = online

    params["company"] = company

    params["name"] = name

    json_granted: bool | None | Unset
    if isinstance(granted, Unset):
        json_granted = UNSET
    else:
        json_granted = granted
    params["granted"] = json_granted

    params["deleted"] = deleted

    params["after"] = after

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/models",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Failure | Models | None:
    if response.status_code == 200:
        response_200 = Models.from_dict(response.json())

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
) -> Response[Failure | Models]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    snapshots: bool | Unset = False,
    online: str | Unset = "",
    company: str | Unset = "",
    name: str | Unset = "",
    granted: bool | None | Unset = UNSET,
    deleted: bool | Unset = False,
    after: str | Unset = "",
    limit: int | Unset = 100,
) -> Response[Failure | Models]:
    """Models of one's own, those others granted, and those trained on one's data and held; the newest
    first

     Models of one's own, those others granted, and those trained on one's data and held; the newest
    first. Without
    snapshots of online models, which are many, unless they are asked for.

    Args:
        snapshots (bool | Unset): what online models published, too Default: False.
        online (str | Unset): what this online model published, alone Default: ''.
        company (str | Unset): of this owner only Default: ''.
        name (str | Unset): a part of the name, whatever its case Default: ''.
        granted (bool | None | Unset): true: others' only; false: one's own only
        deleted (bool | Unset): tombstones, too Default: False.
        after (str | Unset): `next` of the page before Default: ''.
        limit (int | Unset): at most so many; of long records fewer, and then there is a `next`
            Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Models]
    """

    kwargs = _get_kwargs(
        snapshots=snapshots,
        online=online,
        company=company,
        name=name,
        granted=granted,
        deleted=deleted,
        after=after,
        limit=limit,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    snapshots: bool | Unset = False,
    online: str | Unset = "",
    company: str | Unset = "",
    name: str | Unset = "",
    granted: bool | None | Unset = UNSET,
    deleted: bool | Unset = False,
    after: str | Unset = "",
    limit: int | Unset = 100,
) -> Failure | Models | None:
    """Models of one's own, those others granted, and those trained on one's data and held; the newest
    first

     Models of one's own, those others granted, and those trained on one's data and held; the newest
    first. Without
    snapshots of online models, which are many, unless they are asked for.

    Args:
        snapshots (bool | Unset): what online models published, too Default: False.
        online (str | Unset): what this online model published, alone Default: ''.
        company (str | Unset): of this owner only Default: ''.
        name (str | Unset): a part of the name, whatever its case Default: ''.
        granted (bool | None | Unset): true: others' only; false: one's own only
        deleted (bool | Unset): tombstones, too Default: False.
        after (str | Unset): `next` of the page before Default: ''.
        limit (int | Unset): at most so many; of long records fewer, and then there is a `next`
            Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Models
    """

    return sync_detailed(
        client=client,
        snapshots=snapshots,
        online=online,
        company=company,
        name=name,
        granted=granted,
        deleted=deleted,
        after=after,
        limit=limit,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    snapshots: bool | Unset = False,
    online: str | Unset = "",
    company: str | Unset = "",
    name: str | Unset = "",
    granted: bool | None | Unset = UNSET,
    deleted: bool | Unset = False,
    after: str | Unset = "",
    limit: int | Unset = 100,
) -> Response[Failure | Models]:
    """Models of one's own, those others granted, and those trained on one's data and held; the newest
    first

     Models of one's own, those others granted, and those trained on one's data and held; the newest
    first. Without
    snapshots of online models, which are many, unless they are asked for.

    Args:
        snapshots (bool | Unset): what online models published, too Default: False.
        online (str | Unset): what this online model published, alone Default: ''.
        company (str | Unset): of this owner only Default: ''.
        name (str | Unset): a part of the name, whatever its case Default: ''.
        granted (bool | None | Unset): true: others' only; false: one's own only
        deleted (bool | Unset): tombstones, too Default: False.
        after (str | Unset): `next` of the page before Default: ''.
        limit (int | Unset): at most so many; of long records fewer, and then there is a `next`
            Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Models]
    """

    kwargs = _get_kwargs(
        snapshots=snapshots,
        online=online,
        company=company,
        name=name,
        granted=granted,
        deleted=deleted,
        after=after,
        limit=limit,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    snapshots: bool | Unset = False,
    online: str | Unset = "",
    company: str | Unset = "",
    name: str | Unset = "",
    granted: bool | None | Unset = UNSET,
    deleted: bool | Unset = False,
    after: str | Unset = "",
    limit: int | Unset = 100,
) -> Failure | Models | None:
    """Models of one's own, those others granted, and those trained on one's data and held; the newest
    first

     Models of one's own, those others granted, and those trained on one's data and held; the newest
    first. Without
    snapshots of online models, which are many, unless they are asked for.

    Args:
        snapshots (bool | Unset): what online models published, too Default: False.
        online (str | Unset): what this online model published, alone Default: ''.
        company (str | Unset): of this owner only Default: ''.
        name (str | Unset): a part of the name, whatever its case Default: ''.
        granted (bool | None | Unset): true: others' only; false: one's own only
        deleted (bool | Unset): tombstones, too Default: False.
        after (str | Unset): `next` of the page before Default: ''.
        limit (int | Unset): at most so many; of long records fewer, and then there is a `next`
            Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Models
    """

    return (
        await asyncio_detailed(
            client=client,
            snapshots=snapshots,
            online=online,
            company=company,
            name=name,
            granted=granted,
            deleted=deleted,
            after=after,
            limit=limit,
        )
    ).parsed
