"""The stages `export` and `report`: write the model to the output, and the job's result.

stage       the output's directory, whole or not at all, with manifest.json and latest.json
artifacts   the files beside the model: figures, history, ONNX file, report, model card
tensorboard an event file with the curves of history.csv
report/     report.html and the model card
result      result.json: the job's result, from the files of all stages

To add a file to the output: one function in artifacts.
"""
