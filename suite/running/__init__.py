"""How a run is carried out: tasks, measured in this process, in others, or on a cluster.

A `Task` is what is measured at a time, and `Worker.perform` measures it, wherever it runs. Only the driver
writes records.
"""
