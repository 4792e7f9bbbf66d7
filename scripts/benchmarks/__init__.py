"""Measurements: one module for each, with `main(arguments) -> int`; its docstring's first line describes it."""
