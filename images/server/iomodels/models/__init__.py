"""The I/O models: a module each with ``serve(listener, new_session)``; its name is the model's.

Each file is a complete server: the facts about the kernel on top, then the loop. The loop is repeated on
purpose, it is the subject: compare ``poll.py`` with ``epoll_lt.py``.
"""
