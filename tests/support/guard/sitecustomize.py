"""Python imports this at its start when the folder is on PYTHONPATH: children of tests are guarded as well."""

from support import network

network.install(in_child=True)
