"""The report as one HTML page, and the model card as Markdown.

page         the sections in their order
figures      sections about figures: accuracy, curves, confusion, errors, calibration
charts       their charts as inline SVG
provenance   sections about the data set and the model's origin
markup       HTML that escapes all text; style.css has the colours
card         the model card: the same in few words

To add a section: one function that returns Markup, and one line in page.render.
"""
