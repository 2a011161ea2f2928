"""Tuning: the free settings of a method chosen on a part of the data, against a reference or by the noise."""
