"""Functional ablations: many settings and seeds of one configuration, trained side by side in few
programs, compared by paired tests.

sweep.py reads a sweep and checks every setting; traced.py says which numbers settings of one
program may differ in; groups.py makes groups of settings that share a program; stacked.py trains a
group as one mapped step, loop.py with checkpoints; finish.py leaves an ordinary run folder for each
setting and seed; report.py and plots.py compare them; run.py joins all. For users:
docs/ablation.md.
"""
