"""What the router answers by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sglrouter.wire import replies
from sglrouter.wire.replies import Failure
from sglrouter.wire.routes import Kind, Route

if TYPE_CHECKING:
    from sglrouter.serving.core import Router


def local_answer(router: Router, route: Route) -> tuple[int, bytes]:
    """Status and JSON body for /health and /v1/models."""
    if route.kind is Kind.HEALTH:
        return router.health()
    models, routes = router.workers.models, router.document.fleets
    if route.kind is Kind.MODELS:
        return 200, orjson.dumps(replies.models_document(models, routes))
    if route.name in models:
        fleet = models[route.name]
        return 200, orjson.dumps(replies.model_document(route.name, fleet, routes[fleet]))
    message = f"The model `{route.name[:200]}` does not exist."
    failure = Failure(404, "model_not_found", message, "model")
    return 404, orjson.dumps(replies.error_document(failure))
