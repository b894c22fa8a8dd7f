"""A program that checks certificates of erasure against the raw stores. It imports nothing of the product.

Holds: the check, and the search of every byte for traces of a person.
Does not hold: anything of erasure; what it knows of formats it knows by itself.
"""
