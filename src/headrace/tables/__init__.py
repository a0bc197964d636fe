"""Recorded readings as people keep them: CSV, compressed or not, and Parquet.

`columns` tells what a column holds and which one is the time or names the devices, `clocks` what times without a zone
mean, `files` reads a file so. Whatever reads a user's file reads it here: it means the same to every command.
"""
