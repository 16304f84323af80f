"""`python -m sglworker.aws_call REGION`: make AWS calls for the agent, which has no boto3 itself.

One JSON line in, `{"service", "operation", "arguments"}`; one out, `{"answer"}` or
`{"error", "no_action"}`. Ends with its input.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

_CONFIG = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
)


def serve(region: str) -> None:
    clients: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        service = request["service"]
        try:
            if service not in clients:
                clients[service] = boto3.client(service, region_name=region, config=_CONFIG)
            call = getattr(clients[service], request["operation"])
            answer = {"answer": call(**request["arguments"])}
        except (BotoCoreError, ClientError, OSError) as error:
            no_action = "No active Lifecycle Action" in str(error)
            answer = {"error": str(error), "no_action": no_action}
            if isinstance(error, NoCredentialsError):  # a client never asks again
                del clients[service]
        # Dates are of no interest to the agent.
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
