"""Bells: their pitch and their sound."""
