"""Which inputs a fitted neuron listens to.

The gradient of the voltage with respect to every input, 10 ms before: one backward pass through the surrogate.
"""

import matplotlib.pyplot as plt
import torch

import ulmus

torch.manual_seed(0)
surrogate = ulmus.load("l5pc-branch-20")
excitation = (torch.rand(16, 300, 639) < 0.010).float()
inhibition = -(torch.rand(16, 300, 639) < 0.003).float()
events = torch.cat([excitation, inhibition], dim=2).requires_grad_()
outputs, _ = surrogate.neuron(events)
outputs[:, -1, 1].sum().backward()  # output 0 is the spike logit, output 1 the voltage
gradient_mv = events.grad[:, -11].mean(0) / surrogate.units.scale_per_mv

axes = plt.figure(figsize=(7, 2.4)).subplots()
axes.plot(gradient_mv[:639], label="excitatory")
axes.plot(-gradient_mv[639:], label="inhibitory")
axes.axhline(0, color="0.5", linewidth=0.5)
axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 0.75))
axes.set(xlabel="input, in the order of the dendrites", ylabel="mV for an event\n10 ms before")
plt.show()
