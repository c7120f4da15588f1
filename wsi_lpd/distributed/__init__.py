"""Many slides on many processes or machines, through Dask; nothing here knows what is done with a slide."""
