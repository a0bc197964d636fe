from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.rotated import Rotated
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    at_once: bool | Unset = False,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["at_once"] = at_once

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/keys/rotate",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Failure | Rotated | None:
    if response.status_code == 200:
        response_200 = Rotated.from_dict(response.json())

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
) -> Response[Failure | Rotated]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    at_once: bool | Unset = False,
) -> Response[Failure | Rotated]:
    """Sign with a new key

     Sign with a new key. `at_once`: every token, refresh token and session that was given out ends.

    Args:
        at_once (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Rotated]
    """

    kwargs = _get_kwargs(
        at_once=at_once,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    at_once: bool | Unset = False,
) -> Failure | Rotated | None:
    """Sign with a new key

     Sign with a new key. `at_once`: every token, refresh token and session that was given out ends.

    Args:
        at_once (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Rotated
    """

    return sync_detailed(
        client=client,
        at_once=at_once,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    at_once: bool | Unset = False,
) -> Response[Failure | Rotated]:
    """Sign with a new key

     Sign with a new key. `at_once`: every token, refresh token and session that was given out ends.

    Args:
        at_once (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Rotated]
    """

    kwargs = _get_kwargs(
        at_once=at_once,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    at_once: bool | Unset = False,
) -> Failure | Rotated | None:
    """Sign with a new key

     Sign with a new key. `at_once`: every token, refresh token and session that was given out ends.

    Args:
        at_once (bool | Unset):  Default: False.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Rotated
    """

    return (
        await asyncio_detailed(
            client=client,
            at_once=at_once,
        )
    ).parsed
