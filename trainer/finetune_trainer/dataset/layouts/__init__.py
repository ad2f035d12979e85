"""The layouts in which photos and their classes may be given. Opens no photo.

detect       LAYOUTS, the table of layouts, and which of them a source has
auto         refuses a source that the layout Auto may misread
folders      Folder and Split: class folders
lists        Csv: lists of photos and their classes
lst          Lst: the lists of im2rec
records      RecordIO: photos that are packed already
source       a source while its layout is sought
tree         the files of a source
tables       reads lists: CSV, JSON
columns      the columns of a list
resolve      the files that the paths of a list mean
open_list    a list whose columns are known, and its rows
inspect_list the files that may be lists, and why one may not be used
collect      the photos that lists name, and whether the lists agree
agreement    compares a list with the folders of its photos
splits       the lists or record files of a source, one for each split
classes      classes.txt: the names of the classes
names        names of classes and of splits
unused       warns of files that look as if photos or a class were missing
unread       doubts files beside the photos that are not read: they may have the classes
unnamed      doubts labels that name no photo
found        the result: photos with their class, and files that are left out

To add a layout: one file here, one line in LAYOUTS (its order is that of detection), and its name
in the spec (contract/dataset.py) and in the lock (LayoutName in dataset/lock.py); `make render`.
"""
