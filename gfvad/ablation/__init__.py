"""Functional ablations: many settings and seeds of one configuration, trained side by side in few
programs, compared by paired tests.

sweep.py reads a sweep and checks every setting; varying.py says which numbers settings of one
program may differ in; groups.py makes groups of settings that share a program; program.py makes one
mapped step of a group, group_run.py hands it to the loop (gfvad/train/loop.py); run_folders.py
leaves an ordinary run folder for each setting and seed; report.py and plots.py compare them;
folds.py runs and joins the folds of a cross-validation; run.py joins all. Data, models and results
are the task's (gfvad/tasks/task.py: SweepData). For users: docs/ablation.md.
"""
