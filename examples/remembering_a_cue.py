"""Remembering a cue.

Accuracy while an ELM layer learns to say, after 150 steps of noise, which way a
short cue went; with short and with long time constants.
"""

import matplotlib.pyplot as plt
import numpy as np

import ulmus

random = np.random.default_rng(0)
up = random.random(400) < 0.5
x = random.normal(size=(400, 160, 2)).astype("float32")
x[:, :10, 0] += np.where(up, 0.9, -0.9)[:, None]

axes = plt.figure(figsize=(7, 2.4)).subplots()
for longest in (10, 160):
    neuron = ulmus.ELM(2, memory=10, tau_memory_ms=(1, longest))
    training = {"validate_every": 10}
    run = ulmus.fit(
        neuron, (x, up.astype(int)), task="classification", steps=100, learning_rate=1e-2, training=training
    )
    seen = [line for line in run.history if "validation" in line]
    accuracy = [line["validation"]["accuracy"] for line in seen]
    axes.plot([line["step"] for line in seen], accuracy, "o-", label=f"up to {longest} steps")
axes.legend(title="time constants", frameon=False)
axes.set(xlabel="training step", ylabel="validation accuracy", ylim=(0.4, 1.02))
plt.show()
