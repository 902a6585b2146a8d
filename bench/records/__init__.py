"""What a run leaves behind: cells, tables, metrics, intervals and the folders that hold them.

Nothing here imports torch or transformers, so results are read and summarised on any machine.
"""
