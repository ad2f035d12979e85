"""The stage `fit`: trains a network by a recipe. Read stage, train and loop first.

stage             choose the recipe, train it, save the network, hand it on
choose_recipe     the recipe to train: the choice of `auto`, or the last epoch by early stopping
trials            the trials of `auto`: weight decays, then deeper recipes
folds             folds of the training images, for both
early_stopping    the rule that ends a trial
train             train a recipe: the one entry, with resuming, smaller batches, retry
materials         data set, network and hardware of the job, and the tasks made of them
batch_size        batches that fit into the container's memory
features          feature extraction, and its cache
tasks             what is trained: all layers, the last blocks, or the new layer
targets, sampling the targets instead of labels, and the order of balanced epochs
loop              the epochs, from a checkpoint to the last one
learner           the network with its optimizer: batches in, updates out
optimizers, kvstore, averaging   what MXNet 1.9 lacks for that
checkpoint        save and resume, to the last bit
fit_progress, stall   work done and time waited, as reported
distributed, parameter_server   the gang: one worker in each pod
records           files that only the fit reads, in a later attempt or another pod

To add a task: one function in tasks, one case in Materials.task. To add an optimizer: one class in
optimizers.
"""
