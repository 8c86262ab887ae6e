"""Voltage and spikes of a fitted neuron.

One second of random input to the layer-5 pyramidal cell that comes with Ulmus.
"""

import matplotlib.pyplot as plt
import torch

import ulmus

torch.manual_seed(0)
surrogate = ulmus.load("l5pc-branch-20")
excitation = (torch.rand(1, 1500, 639) < 0.012).float()  # 12 Hz at every excitatory input
inhibition = -(torch.rand(1, 1500, 639) < 0.003).float()
prediction = surrogate.predict(torch.cat([excitation, inhibition], dim=2))

axes = plt.figure(figsize=(7, 2.4)).subplots()
axes.plot(prediction.voltage_mv[0, :, 0])
axes.plot(prediction.spike_times_ms[0], [-53] * len(prediction.spike_times_ms[0]), "v", color="C1")
axes.set(xlim=(500, 1500), xlabel="time (ms)", ylabel="voltage (mV)")
plt.show()
