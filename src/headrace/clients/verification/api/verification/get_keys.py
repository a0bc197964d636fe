from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.keys import Keys
from ...types import UNSET, Response, Unset


def _get_kwargs(
    company: str,
    *,
    asset: str | Unset = "",
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["asset"] = asset

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/keys/{company}".format(
            company=quote(str(company), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Failure | Keys | None:
    if response.status_code == 200:
        response_200 = Keys.from_dict(response.json())

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
) -> Response[Failure | Keys]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    company: str,
    *,
    client: AuthenticatedClient | Client,
    asset: str | Unset = "",
) -> Response[Failure | Keys]:
    """What a company's records are signed with: to be compared with what it says itself, and pinned

    Args:
        company (str):
        asset (str | Unset): of another company: something of theirs you see Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Keys]
    """

    kwargs = _get_kwargs(
        company=company,
        asset=asset,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    company: str,
    *,
    client: AuthenticatedClient | Client,
    asset: str | Unset = "",
) -> Failure | Keys | None:
    """What a company's records are signed with: to be compared with what it says itself, and pinned

    Args:
        company (str):
        asset (str | Unset): of another company: something of theirs you see Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Keys
    """

    return sync_detailed(
        company=company,
        client=client,
        asset=asset,
    ).parsed


async def asyncio_detailed(
    company: str,
    *,
    client: AuthenticatedClient | Client,
    asset: str | Unset = "",
) -> Response[Failure | Keys]:
    """What a company's records are signed with: to be compared with what it says itself, and pinned

    Args:
        company (str):
        asset (str | Unset): of another company: something of theirs you see Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Keys]
    """

    kwargs = _get_kwargs(
        company=company,
        asset=asset,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    company: str,
    *,
    client: AuthenticatedClient | Client,
    asset: str | Unset = "",
) -> Failure | Keys | None:
    """What a company's records are signed with: to be compared with what it says itself, and pinned

    Args:
        company (str):
        asset (str | Unset): of another company: something of theirs you see Default: ''.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Keys
    """

    return (
        await asyncio_detailed(
            company=company,
            client=client,
            asset=asset,
        )
    ).parsed
