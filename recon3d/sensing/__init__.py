"""Sensing: what may be measured next, who measures it, what is believed about it, and who chooses."""
