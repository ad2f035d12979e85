"""The layouts in which photos and their classes may be given. Opens no photo.

detect    LAYOUTS, the table of layouts, and which of them a source has
folders   Folder and Split: class folders
lists     Csv and Lst: lists of photos and their classes
records   RecordIO: photos that are packed already
splits    the lists or record files of a folder, one for each split
classes   classes.txt: the names of the classes
found     the result: photos with their class, and files that are left out

To add a layout: one file here, one line in LAYOUTS (its order is that of detection), and its name
in the spec (contract/dataset.py) and in the lock (LayoutName in dataset/lock.py); `make render`.
"""
