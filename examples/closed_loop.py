"""A closed loop, step by step.

A controller watches the spikes of a fitted neuron and sets the rate of its excitation, so that the neuron fires at 3 Hz.
"""

import matplotlib.pyplot as plt
import numpy as np

import ulmus

random = np.random.default_rng(0)
runner = ulmus.load("l5pc-branch-20").stepper()
excitation_hz, rate_hz, history = 8.0, 0.0, []
for _ in range(20_000):
    excitation = np.flatnonzero(random.random(639) < excitation_hz / 1000)
    inhibition = 639 + np.flatnonzero(random.random(639) < 0.006)
    spikes, _ = runner.step(np.concatenate([excitation, inhibition]))
    rate_hz += (1000.0 * spikes[0] - rate_hz) / 1000  # over about a second
    excitation_hz += 0.001 * (3.0 - rate_hz)
    history.append((rate_hz, excitation_hz))

above, below = plt.figure(figsize=(7, 3)).subplots(2, 1, sharex=True)
time_s = np.arange(len(history)) / 1000
above.plot(time_s, [rate for rate, _ in history])
above.axhline(3, color="0.5", linewidth=0.5)
above.set_ylabel("output (Hz)")
below.plot(time_s, [excitation for _, excitation in history], color="C2")
below.set(xlabel="time (s)", ylabel="each input (Hz)")
plt.show()
