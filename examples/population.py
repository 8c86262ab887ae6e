"""A population in which some receive more.

A hundred connected copies of the layer-5 pyramidal cell; every fifth one gets stronger input from outside.
"""

import matplotlib.pyplot as plt
import numpy as np

import ulmus
from ulmus.populations import Cells, FixedProbability

surrogate = ulmus.load("l5pc-branch-20")
net = ulmus.Population([Cells(surrogate, 80, "quiet"), Cells(surrogate, 20, "driven")], seed=2)
for source in ("quiet", "driven"):
    for target in ("quiet", "driven"):
        net.connect(
            source, target, FixedProbability(0.1), delay_ms=lambda draw, count: draw.uniform(1, 5, count)
        )
for target, rate_hz in (("quiet", 11.0), ("driven", 15.0)):
    net.poisson(target, rate_hz=rate_hz)
    net.poisson(target, rate_hz=3.0, inputs="inhibitory")
result = net.run(1000.0)

axes = plt.figure(figsize=(7, 2.8)).subplots()
driven = np.isin(result.spike_neuron, net.neurons["driven"])
for chosen, label in ((~driven, "11 Hz at every input"), (driven, "15 Hz")):
    axes.plot(result.spike_time_ms[chosen], result.spike_neuron[chosen], "|", markersize=4, label=label)
axes.legend(loc="upper left", frameon=False, ncols=2)
axes.set(xlabel="time (ms)", ylabel="neuron", ylim=(-2, 118))
plt.show()
