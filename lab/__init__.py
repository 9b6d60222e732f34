"""I/O Model Lab: what does each Unix I/O model really cost?"""

__version__ = "0.1.0"
