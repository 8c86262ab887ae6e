"""Firing rate over excitation and inhibition.

Through the layer-5 pyramidal cell that comes with Ulmus, four seconds for each pair of rates. Where inhibition is weak the rate
falls again: is that the cell, or a surrogate beyond the input it was fitted to? Only the detailed cell can tell.
"""

import matplotlib.pyplot as plt
import torch

import ulmus

torch.manual_seed(0)
surrogate = ulmus.load("l5pc-branch-20")
excitation_hz = torch.arange(4.0, 20.0, 2.0)
axes = plt.figure(figsize=(7, 2.8)).subplots()
for inhibition_hz in (3.0, 6.0, 9.0):
    count = len(excitation_hz)
    excitation = (torch.rand(count, 4000, 639) < excitation_hz[:, None, None] / 1000).float()
    inhibition = -(torch.rand(count, 4000, 639) < inhibition_hz / 1000).float()
    prediction = surrogate.predict(torch.cat([excitation, inhibition], dim=2))
    rate_hz = [(times > 500).sum() / 3.5 for times in prediction.spike_times_ms]
    axes.plot(excitation_hz, rate_hz, "o-", label=f"{inhibition_hz:.0f} Hz")
axes.legend(title="inhibition", frameon=False)
axes.set(xlabel="rate of each excitatory input (Hz)", ylabel="output rate (Hz)")
plt.show()
