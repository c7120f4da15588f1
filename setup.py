"""Which packages are installed: everything below `wsi_lpd`, so that a new folder needs no list, and `cli/`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["wsi_lpd", "wsi_lpd.*"]), "wsi_lpd_cli"])
