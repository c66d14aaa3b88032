"""Where tasks are measured: in this process, in others, or on a Dask cluster."""
