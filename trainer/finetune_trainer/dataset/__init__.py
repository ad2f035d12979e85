"""Turns folders of photos into a packed data set (the stage `prepare`). Imports no MXNet.

stage         the steps of `prepare` in order
layouts/      lists the photos of a source: class folders, lists, records
check         errors and warnings about the data set
photo         one photo: decode, turn upright, resize, encode
colour        pixels of any kind to 8-bit RGB as people see it
file_types    photos, pictures that cannot be read, and other files, by name and first bytes
exact         the same with the pixels of im2rec.py
resize        resizing with vector instructions
pack          many photos in parallel; writes the record files
spool         holds encoded photos between decoding and packing
duplicates    photos that look alike, by a perceptual hash
split         train and validation
compose       labels, copies, split and order of records together
recordio      reads and writes RecordIO
lock          dataset.lock.json: every file and its fate
stored_size   the size of the stored photos, by the network's input
preprocessing from a packed picture to the input of a network
sheet         the contact sheet
thumbnail     small pictures for HTML pages

To add a layout: see layouts/. A new format of pictures is one more decoder in photo.FORMATS.
"""
