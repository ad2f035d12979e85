"""The trainer: photos in folders in, an exact accuracy and a model out."""
