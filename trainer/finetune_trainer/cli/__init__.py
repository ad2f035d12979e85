"""The command line `finetune-trainer`: one verb, one module.

main        the table VERBS: imports the module of a verb and runs it
run         train a manifest on this machine, by the code that runs in pods
prepare     pack photos, and print a table of the data set
models      list or convert the models of the catalogue
predict     classify pictures
evaluate    measure a model on labelled photos
report      print the model card
workspace   remove what no job needs any more from a workspace
schema      print the JSON schema of the contract
supervise   process 1 of a pod
stages      a child process of the supervisor
manifest    reads a FineTuneJob from YAML
arguments   arguments that several verbs have
local       replaces the volumes of a manifest by folders of this machine
living      asks the API server which FineTuneJobs exist
earlier     goes on from an earlier local run whose files have other times alone
console     tables and lines with text of users, as it is
display     progress bar or plain lines of a local run
errors      prints why a verb failed

To add a verb: one file here with `add_arguments(parser)` and `run(options)`, and one line in VERBS.
"""
