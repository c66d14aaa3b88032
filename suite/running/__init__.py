"""How a run is carried out: items of work, measured here, in processes, or on a cluster.

One `Item` is what is measured at a time, and `Bench.perform` is what measures it, wherever it runs.
Only the driver writes records.
"""
