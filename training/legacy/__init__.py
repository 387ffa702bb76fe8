"""Official network pickles, read as data; `python -m training.legacy FILE` converts one."""

from training.legacy.convert import Official, load_official
from training.legacy.reader import is_pickle

__all__ = ['Official', 'is_pickle', 'load_official']
