"""Folders and files of this checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "images"
SCENARIOS = ROOT / "scenarios"
LAB_YAML = ROOT / "lab.yaml"
