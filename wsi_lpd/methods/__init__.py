"""The learning methods: what each asks of one and the same network, a package each.

`__init__` of a package declares the method (`wsi_lpd.config.method.MethodSpec`) and its settings, `loss` is its code.
"""

# The configuration reads the declarations; whoever comes here first must let it.
import wsi_lpd.config  # noqa: F401

__all__: list[str] = []
