"""What runs in child processes (edgeq.isolation): the only code that loads frameworks.

Nothing imports these modules; they are named by string and built on the other side.
"""
