"""The swarm: an epoll load engine that takes a few microseconds per request, and Locust around it.

The engine (`engine`, `pool`, `connection`, `executors`, `seconds`) knows nothing of Locust and runs as a
plain child process. `master` and `worker` are Locust's distributed mode. A worker and its engines exchange
JSON lines, the worker and the master Locust messages.
"""
