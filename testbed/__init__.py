"""What tests and benchmarks both stand on: a second kernel, network namespaces, servers as plain processes.

Neutral ground: `bench/` and `tests/` import from here and never from each other, and this package imports
neither (tests/unit/house/test_imports.py).
"""
