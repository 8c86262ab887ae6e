"""A neuron under injected current.

Random steps, ramps, chirps and noise into an adaptive integrate-and-fire neuron, as training trials. Needs the extra `simulate`.
"""

import tempfile

import matplotlib.pyplot as plt

import ulmus
from ulmus.teachers import CurrentRegime, adaptive

with tempfile.TemporaryDirectory() as folder:
    regime = CurrentRegime(-0.05, 0.35)  # nA
    trials = ulmus.simulate(
        adaptive(), regime, trials=1, seconds=4, out=folder + "/trials", workers=1, seed=3
    )
    trial = trials.trial(0)

above, below = plt.figure(figsize=(7, 3)).subplots(2, 1, sharex=True)
above.plot(trial.continuous[:, 0], color="C2")
above.set_ylabel("current (nA)")
below.plot(trial.voltage_mv[:, 0], color="C1")
below.plot(trial.spike_time_ms, [-50] * len(trial.spike_time_ms), "v", color="C0", markersize=4)
below.set(xlabel="time (ms)", ylabel="voltage (mV)")
plt.show()
