"""From a Run to its Summary, Findings and Verdict. Pure: files in, values out, no Docker."""
