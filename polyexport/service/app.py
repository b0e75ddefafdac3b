"""The application of the service: its routes, behind what is checked before a route sees a request."""

from fastapi import FastAPI

import polyexport
from polyexport.service.access_limit import AccessLimit
from polyexport.service.gate import Gate
from polyexport.service.metrics import Metrics
from polyexport.service.options import ServiceOptions
from polyexport.service.routes import INFER_PATH, Routes
from polyexport.web.hosts import HostRule

__all__ = ["build_app"]


def build_app(routes: Routes, metrics: Metrics, options: ServiceOptions) -> FastAPI:
    """Build the application, without FastAPI's pages of documentation, which load their scripts from another host."""
    app = FastAPI(
        title="polyexport",
        version=polyexport.__version__,
        description=routes.purpose,
        docs_url=None,
        redoc_url=None,
    )
    routes.add_to(app)
    app.add_middleware(AccessLimit, path=INFER_PATH, limits=options.limits, metrics=metrics)
    app.add_middleware(Gate, rule=HostRule(options.host, options.allow_hosts))  # the last one is the outermost
    return app
