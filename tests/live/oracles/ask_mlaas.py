"""Run by tests/flow/test_original_client.py in the original client's own environment: its calls, one a line of JSON, and its answers."""

import base64
import json
import sys

import requests
from mlaas_sdk import models
from mlaas_sdk.clients import BlockchainClient, SharingClient, TrainingClient

ADDRESS = sys.argv[1]
CLIENTS = {
    "sharing": SharingClient(ADDRESS),
    "training": TrainingClient(ADDRESS),
    "blockchain": BlockchainClient(ADDRESS),
}


def given(argument):
    """What it stands for: ``{"DatasetContract": {...}}`` is one of the client's own models."""
    if isinstance(argument, dict) and len(argument) == 1 and hasattr(models, name := next(iter(argument))):
        return getattr(models, name)(**argument[name])
    return argument


def said(answer):
    if isinstance(answer, requests.Response):
        return {"bytes": base64.b64encode(answer.content).decode()}
    return answer.dict() if hasattr(answer, "dict") else answer


for line in sys.stdin:
    client, call, arguments = json.loads(line)
    try:
        answer = {"answer": said(getattr(CLIENTS[client], call)(*map(given, arguments)))}
    except Exception as error:  # as its user would see it
        answer = {"raised": type(error).__name__}
    print(json.dumps(answer), flush=True)
