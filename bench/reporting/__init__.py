"""Tables and plots of a run, made from its records only; nothing here imports torch."""
