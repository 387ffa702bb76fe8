"""Server of a live report: the page, its sheets, and a stream of messages (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from ganfoundry.report.live_updates import INTERVAL_S, LiveReport
from ganfoundry.report.page import policy
from ganfoundry.report.run_reading import RunReading
from ganfoundry.serving import App, LocalServer, ServingOptions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SILENT_ROUNDS = 20  # readings without news after which the stream sends a comment, so that a lost page is noticed
KEEP = {'cache-control': 'private, max-age=86400, immutable'}  # of sheets, whose address names their version


def serve_live(runs: Sequence[RunReading], options: ServingOptions, *, full: bool) -> None:
    """Serves the report of runs until Ctrl-C.

    Args:
        runs: The runs, read once.
        options: Where to serve.
        full: Neither crop nor scale the sheets.
    """
    server = LocalServer('report.py --watch', options)
    app = live_app(LiveReport(runs, server.token, full=full), lambda: server.is_stopping)
    server.run(server.guarded(app, open_paths=('/favicon.ico',), csp=policy(live=True)))


def live_app(report: LiveReport, stopping: Callable[[], bool]) -> App:
    """Returns the application of a live report, without the guard. stopping: whether the server was asked to end."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    def picture(data: bytes | None) -> Response:
        if data is None:
            return PlainTextResponse('There is no such picture.\n', status_code=404)
        return Response(data, media_type='image/webp', headers=KEEP)

    async def page(request: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(report.page))

    async def sheet(request: Request) -> Response:
        where = request.path_params
        return picture(await asyncio.to_thread(report.sheet_of, where['run'], where['nimg']))

    async def reals(request: Request) -> Response:
        return picture(await asyncio.to_thread(report.reals_of, request.path_params['run']))

    async def events(request: Request) -> Response:
        last = request.headers.get('last-event-id') or request.query_params.get('since', '')
        since = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else 0
        stream = event_stream(report, request.query_params.get('boot', ''), since, stopping)
        return StreamingResponse(stream, media_type='text/event-stream')

    routes = [
        Route('/', page),
        Route('/sheet/{run:int}/{nimg:int}', sheet),
        Route('/reals/{run:int}', reals),
        Route('/events', events),
    ]
    return Starlette(routes=routes)


async def event_stream(report: LiveReport, boot: str, since: int, stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Yields the messages after a number as server-sent events, until the server is asked to end.

    Args:
        report: The report.
        boot: Identifier of the server that has made the page.
        since: Number of the last message that the page has.
        stopping: Whether the server was asked to end.
    """
    silent = 0
    yield ': begins\n\n'
    while not stopping():
        messages = await asyncio.to_thread(report.messages, boot, since)
        for number, data in messages:
            yield f'id: {number}\ndata: {data}\n\n'
            since = max(since, number)
        silent = 0 if messages else silent + 1
        if silent >= SILENT_ROUNDS:
            silent = 0
            yield ': is silent\n\n'
        await asyncio.sleep(INTERVAL_S)
