"""What JupyterHub's own module of metrics exports, in Prometheus' text format."""

import jupyterhub.metrics  # noqa: F401  (makes the metrics)
from prometheus_client import generate_latest

print(generate_latest().decode("utf8"))
