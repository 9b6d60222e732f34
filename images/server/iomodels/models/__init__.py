"""The I/O models: one module each with ``serve(listener, new_session)``; its name is the model's.

Each file is a complete server: first the facts about the kernel, then the loop. The loop is repeated in every
file on purpose, as it is the subject: compare ``poll.py`` with ``epoll_lt.py``.
"""
