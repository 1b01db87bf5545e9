"""Experiments: a plan, its runs, a store that others can read, statistics, audits and a report."""
