"""Tests of `warehouse.models`."""
