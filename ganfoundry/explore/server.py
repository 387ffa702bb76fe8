"""The web application of the explorer: the page, its pictures, bookmarks, and the nearest training image."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dnnlib.errors import ConfigError, UserError
from dnnlib.log import shown
from ganfoundry.explore.nearest import TrainingImages
from ganfoundry.explore.renderer import Renderer, SupersededError
from ganfoundry.explore.studio import Studio
from ganfoundry.explore.view import View, parse_view

PAGE = Path(__file__).parent / 'page'
MAX_BODY = 2**20  # bytes of a request
MAX_VIEWS = 1000  # bookmarks of a request
OWN = ('token', 'side', 'draft')  # settings of a request that are none of the view
TAB = 'x-tab'  # header with the name of a tab
T = TypeVar('T')
Endpoint = Callable[[Request], Awaitable[Response]]


class Explorer:
    """The endpoints.

    Args:
        renderer: The thread that owns the networks.
    """

    def __init__(self, renderer: Renderer[Studio]) -> None:
        self._renderer = renderer
        self._training: dict[int, TrainingImages] = {}  # keys: sides

    def app(self) -> Starlette:
        """Returns the application, without the checks of `serving.Guard`."""
        return Starlette(
            routes=[
                Route('/', self.page),
                Route('/info', answered(self.info)),
                Route('/status', answered(self.status)),
                Route('/snapshots', answered(self.snapshots)),
                Route('/image', answered(self.image)),
                Route('/command', answered(self.command), methods=['POST']),
                Route('/bookmarks', answered(self.bookmarks), methods=['POST']),
                Route('/latents.npz', answered(self.latents), methods=['POST']),
                Route('/nearest', answered(self.nearest)),
                Route('/training', answered(self.training)),
                Mount('/static', StaticFiles(directory=PAGE)),
            ]
        )

    async def page(self, request: Request) -> Response:
        """Returns the page itself."""
        return FileResponse(PAGE / 'index.html')

    async def info(self, request: Request) -> Response:
        """Returns facts of the networks, for the controls."""
        return JSONResponse(await self._done(request, lambda studio: studio.info()))

    async def status(self, request: Request) -> Response:
        """Returns the length of the queue, also while the thread draws."""
        return JSONResponse({'waiting': self._renderer.num_waiting})

    async def snapshots(self, request: Request) -> Response:
        """Returns the names of the snapshots that each side has now."""
        return JSONResponse(await self._done(request, lambda studio: studio.snapshots()))

    async def image(self, request: Request) -> Response:
        """Returns a picture, or 204 if a newer request of the tab has replaced this one."""
        side, view = side_of(request), view_of(request)
        draft = request.query_params.get('draft') == '1'
        tab = (request.headers[TAB][:64], side) if TAB in request.headers else None
        picture = await self._done(
            request, lambda studio: studio.picture(side, view, draft=draft), tab=tab, key=(side, view, draft)
        )
        text = f'{picture.digest} {view.query()} {picture.media}'
        headers = {
            'etag': f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"',
            'cache-control': 'private, no-cache',
            'x-seconds': f'{picture.seconds:.3f}',
        }
        if request.headers.get('if-none-match') == headers['etag']:
            return Response(status_code=304, headers=headers)
        return Response(picture.data, media_type=picture.media, headers=headers)

    async def command(self, request: Request) -> Response:
        """Returns the line of generate.py that draws a view."""
        side, (view,) = side_of(request), await views_of(request, most=1)
        return JSONResponse({'command': await self._done(request, lambda studio: studio.command(side, view))})

    async def bookmarks(self, request: Request) -> Response:
        """Adds views to the file that the command line names."""
        side, views = side_of(request), await views_of(request)
        return JSONResponse({'indices': await self._done(request, lambda studio: studio.keep(side, views))})

    async def latents(self, request: Request) -> Response:
        """Returns a latents file of views, for a download."""
        side, views = side_of(request), await views_of(request)
        data = await self._done(request, lambda studio: studio.encode(side, views))
        return Response(data, media_type='application/octet-stream')

    async def nearest(self, request: Request) -> Response:
        """Returns the number and the distance of the nearest training image."""
        side, view = side_of(request), view_of(request)

        def draw(studio: Studio) -> tuple[Any, TrainingImages]:
            network = studio.sides[side].first.network
            images = TrainingImages(network.snapshot, str(network.path), network.device)
            return studio.image(side, view), self._training.setdefault(side, images)

        image, training = await self._done(request, draw)
        return JSONResponse(asdict(await asyncio.to_thread(training.nearest, image)))

    async def training(self, request: Request) -> Response:
        """Returns one training image."""
        side, index = side_of(request), request.query_params.get('index', '')
        if side not in self._training or not index.isdecimal() or len(index) > 10:
            raise ConfigError('index: ask for the nearest training image first')
        data = await asyncio.to_thread(self._training[side].png, int(index))
        return Response(data, media_type='image/png')

    async def _done(self, request: Request, work: Callable[[Studio], T], *, tab: Any = None, key: Any = None) -> T:
        """Returns the result of work of the thread. Work whose asker has left is taken out of the queue."""
        future: Future[T] = self._renderer.submit(work, tab=tab, key=key)
        result = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(disconnected(request))
        try:
            await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                self._renderer.drop(future)
                result.cancel()
                raise SupersededError
            return result.result()
        finally:
            gone.cancel()


def answered(endpoint: Endpoint) -> Endpoint:
    """Returns an endpoint whose mistakes of the user are answers: 422 with a sentence, 204 if nobody waits."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except SupersededError:
            return Response(status_code=204)
        except UserError as error:
            return JSONResponse({'error': shown(' '.join(str(error).split()))}, status_code=422)

    return answer


async def disconnected(request: Request) -> None:
    """Returns when the asker has closed the connection."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def side_of(request: Request) -> int:
    """Returns the number of the picture, 0 or 1."""
    text = request.query_params.get('side', '0')
    if text not in ('0', '1'):
        raise ConfigError(f'side={text[:60]}: expected 0 or 1')
    return int(text)


def view_of(request: Request) -> View:
    """Returns the view of a query."""
    return parse_view((key, text) for key, text in request.query_params.multi_items() if key not in OWN)


async def views_of(request: Request, most: int = MAX_VIEWS) -> list[View]:
    """Returns the views of a body, {"views": ["seed=3&psi=0.7", ...]}. most: the largest number of them.

    Raises:
        ConfigError: If the body is too large or something else.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise ConfigError(f'the request has more than {MAX_BODY} bytes; save fewer bookmarks at a time')
    try:
        texts = json.loads(bytes(body))['views']
    except (ValueError, TypeError, KeyError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not 1 <= len(texts) <= most or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f'expected {{"views": [...]}} with 1 to {most} texts')
    return [parse_view(parse_qsl(text, keep_blank_values=True)) for text in texts]
