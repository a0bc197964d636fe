from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.failure import Failure
from ...models.jobs import Jobs
from ...models.list_jobs_state_type_0 import (
    ListJobsStateType0,
)
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    state: ListJobsStateType0 | None | Unset = UNSET,
    model: str | Unset = "",
    limit: int | Unset = 100,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_state: None | str | Unset
    if isinstance(state, Unset):
        json_state = UNSET
    elif isinstance(state, str):
        json_state = state
    else:
        json_state = state
    params["state"] = json_state

    params["model"] = model

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/jobs",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Failure | Jobs | None:
    if response.status_code == 200:
        response_200 = Jobs.from_dict(response.json())

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
) -> Response[Failure | Jobs]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    state: ListJobsStateType0 | None | Unset = UNSET,
    model: str | Unset = "",
    limit: int | Unset = 100,
) -> Response[Failure | Jobs]:
    """The newest jobs of your company, and those held for it, first

    Args:
        state (ListJobsStateType0 | None | Unset):
        model (str | Unset):  Default: ''.
        limit (int | Unset):  Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Jobs]
    """

    kwargs = _get_kwargs(
        state=state,
        model=model,
        limit=limit,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    state: ListJobsStateType0 | None | Unset = UNSET,
    model: str | Unset = "",
    limit: int | Unset = 100,
) -> Failure | Jobs | None:
    """The newest jobs of your company, and those held for it, first

    Args:
        state (ListJobsStateType0 | None | Unset):
        model (str | Unset):  Default: ''.
        limit (int | Unset):  Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Jobs
    """

    return sync_detailed(
        client=client,
        state=state,
        model=model,
        limit=limit,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    state: ListJobsStateType0 | None | Unset = UNSET,
    model: str | Unset = "",
    limit: int | Unset = 100,
) -> Response[Failure | Jobs]:
    """The newest jobs of your company, and those held for it, first

    Args:
        state (ListJobsStateType0 | None | Unset):
        model (str | Unset):  Default: ''.
        limit (int | Unset):  Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Failure | Jobs]
    """

    kwargs = _get_kwargs(
        state=state,
        model=model,
        limit=limit,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    state: ListJobsStateType0 | None | Unset = UNSET,
    model: str | Unset = "",
    limit: int | Unset = 100,
) -> Failure | Jobs | None:
    """The newest jobs of your company, and those held for it, first

    Args:
        state (ListJobsStateType0 | None | Unset):
        model (str | Unset):  Default: ''.
        limit (int | Unset):  Default: 100.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Failure | Jobs
    """

    return (
        await asyncio_detailed(
            client=client,
            state=state,
            model=model,
            limit=limit,
        )
    ).parsed
