# Training of models/r1v-nano: questions, renderer, network and evaluation, used by train.py and draw.py.
