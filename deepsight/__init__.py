"""DeepSight: pre-training objectives that look past the next token, and the evidence for or against them.

Importing this package loads nothing heavy; torch is imported by the modules that need it.
"""

__version__ = "0.1.0"
