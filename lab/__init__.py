"""I/O Model Lab: what does each Unix I/O model really cost?"""
