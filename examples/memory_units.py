"""What memory units hold of one input.

A single event at step 50 of a new neuron: fast units follow at once, slow ones late, and through the
small network each moves the others.
"""

import matplotlib.pyplot as plt
import torch

import ulmus

torch.manual_seed(1)
neuron = ulmus.ELM(inputs=1, memory=8, tau_memory_ms=(1, 500))
event = torch.zeros(1, 400, 1)
event[0, 50] = 1.0
with torch.no_grad():
    moved = (neuron.traces(event).memory - neuron.traces(torch.zeros_like(event)).memory)[0]

axes = plt.figure(figsize=(7, 2.6)).subplots()
for unit, tau in enumerate(neuron.tau_memory().tolist()):
    colour = plt.cm.viridis(0.3 + 0.5 * unit / 7)  # seen on light and on dark pages
    axes.plot(moved[:, unit] / moved[:, unit].abs().max(), color=colour, label=f"{tau:.0f} ms")
axes.legend(title="time constant", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axes.set(xlabel="time (ms)", ylabel="change by the event\n(share of its largest)")
plt.show()
