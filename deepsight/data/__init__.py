"""Corpora, tokenizers, and packed tokens that every arm of a study reads in the same order."""
