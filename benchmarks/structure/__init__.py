"""What can be counted of the way the code is built; `python -m benchmarks.structure` prints it.

Every figure comes from the text of the files, read with `ast`. Nothing of the measured tree is imported, so any
checkout can be measured, old ones too. One module per kind of figure: look_ups, names, private, sizes, imports.
"""
