"""What the server says of an answer that was broken off on purpose: nothing, its application says it."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from headrace.listening import listen, served


async def test_an_answer_that_is_broken_off_is_not_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    with listen("127.0.0.1", 0) as listener, caplog.at_level(logging.INFO):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        logger = logging.getLogger("uvicorn.error")
        async with served(app, listener), httpx.AsyncClient(trust_env=False) as client:
            logger.addHandler(caplog.handler)  # uvicorn's do not propagate
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(url)
            logger.error("what else there is")
            logger.removeHandler(caplog.handler)
    assert [one.message for one in caplog.records if one.name == "uvicorn.error"] == ["what else there is"]
