"""The trainer: photos in folders in, an exact accuracy and a model out.

Read pipeline first. The rooms, in the order in which data flows:

cli          the verbs of the command line
supervisor   process 1 of a pod: runs the stages in child processes, reports how they ended
pipeline     the table of the stages, and how a process runs them
run          the input of every stage, and the files by which stages hand their work on
contract     the job as it is read; the progress and the result as they are written
fetch        stage 1: checks the spec, fetches photos and weights
storage      URIs: where photos come from, and where models go
dataset      stage 2, prepare: photos become a packed data set
model        stage 3: the pretrained network gets a new last layer
recipes      the numbers of a fit, as pure functions
fit          stage 4: chooses a recipe, trains it, keeps checkpoints
evaluate     stage 5: exact figures on the validation split
export       stages 6 and 7: the model with its report; the result of the job

Where something new goes, each one new file and one line in a table: a recipe in recipes (RECIPES);
a scheme of URIs in storage (SOURCES, OUTPUTS); a model format in model/formats (FORMATS); a data
set layout in dataset/layouts (LAYOUTS); a verb in cli (VERBS). A figure is a function and a line
in evaluate/metrics (METRICS); a stage a line in pipeline (STAGES); an exit code a line in
contract/errors and in the operator's table. What a job can name is also in contract/: then
`make render`.
"""
