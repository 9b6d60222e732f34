"""The swarm: an epoll load engine that costs a few microseconds per request, and Locust around it.

The engine (`engine`, `load`, `ledger`, `connection`) knows nothing of Locust and runs as a plain child
process; `master` and `worker` are Locust's distributed mode; the three talk in JSON lines and Locust
messages.
"""
