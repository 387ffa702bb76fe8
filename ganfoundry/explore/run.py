"""The command `explore.py`: from its options to a server."""

from __future__ import annotations

from dataclasses import dataclass

from dnnlib.command import skip_finalization
from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.renderer import Renderer
from ganfoundry.explore.studio import Studio, StudioOptions
from ganfoundry.serving import LocalServer, ServingOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ExploreOptions:
    """The options of explore.py under their names in Python; `ganfoundry/commands/explore.py` describes each."""

    network: str
    compare: str | None = None
    latents: tuple[str, ...] = ()
    bookmarks: str = 'latents.npz'
    host: str = '127.0.0.1'
    port: int | None = None
    allow_remote: bool = False
    precision: str = 'fp32'
    plugin: tuple[str, ...] = ()
    device: str | None = None

    @property
    def studio(self) -> StudioOptions:
        """The options of what is drawn."""
        return StudioOptions(
            networks=(self.network, *([] if self.compare is None else [self.compare])),
            latents=self.latents,
            bookmarks=self.bookmarks,
            machine=Machine(precision=self.precision, plugin=self.plugin, device=self.device),
        )


def run_explore(options: ExploreOptions) -> None:
    """Serves the explorer until Ctrl-C."""
    serving = ServingOptions(host=options.host, port=options.port, allow_remote=options.allow_remote)
    server = LocalServer('explore.py', serving)
    from ganfoundry.explore.server import Explorer  # needs the packages that LocalServer has looked for

    try:
        renderer = Renderer(lambda: Studio(options.studio))
    except BaseException:
        server.close()
        raise
    try:
        server.run(server.guarded(Explorer(renderer).app()))
    finally:
        if not renderer.close():
            skip_finalization()
