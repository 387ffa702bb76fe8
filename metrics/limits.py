"""Limits of a metric: the numbers of images below which it makes no sense."""

from __future__ import annotations

from dnnlib.errors import ConfigError, DataError
from metrics.spec import MetricSpec, PathSpec


def check_counts(spec: MetricSpec, num_reals: int | None, *, in_halves: bool) -> None:
    """Refuses numbers of images that are too small.

    Args:
        spec: The metric.
        num_reals: Number of real images; None if there are none.
        in_halves: Halves of the generated images will be measured too, for the standard error.

    Raises:
        ConfigError: The metric generates too few images, or has no real ones to compare with.
        DataError: There are too few real images.
    """
    least = spec.min_images * (2 if in_halves else 1)
    reason = f': {spec.min_images_reason}' if spec.min_images_reason else ''
    if spec.num_fakes < least:
        errors = ' with its error from halves' if in_halves else ''
        noun = 'pairs of generated images' if isinstance(spec.path, PathSpec) else 'generated images'
        raise ConfigError(f'{spec.name} asks for {spec.num_fakes} {noun}, it needs at least {least}{errors}{reason}')
    if not spec.needs_reals:
        return
    if num_reals is None:
        raise ConfigError(f'{spec.name} compares with real images; please specify --data')
    if num_reals < spec.min_images:
        raise DataError(
            f'{spec.name} needs at least {spec.min_images} real images, the data set has {num_reals}{reason}'
        )
