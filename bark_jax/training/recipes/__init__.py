"""Whole trainings, from data to an evaluated model, each a package with a command."""
