"""Pictures of any kind to a data set that trains: `dataset_tool.py` drives it.

sources.py   what a source is, and which one a path means: files.py tar.py lsun.py cifar.py mnist.py picture_list.py
picture.py   one picture: decode.py, colour.py, geometry.py, png.py
run.py       all of them: pool.py (processes), labels.py, writer.py
"""
