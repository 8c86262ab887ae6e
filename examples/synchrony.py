"""Together or apart.

The same 60 input spikes, spread over less or more time: how far do they raise the spike probability of the
layer-5 pyramidal cell?
"""

import matplotlib.pyplot as plt
import torch

import ulmus

torch.manual_seed(0)
surrogate = ulmus.load("l5pc-branch-20")
background = torch.cat(
    [(torch.rand(200, 400, 639) < 0.008).float(), -(torch.rand(200, 400, 639) < 0.003).float()], dim=2
)
spreads_ms, rise = [1, 2, 5, 10, 20, 40, 80], []
before = surrogate.predict(background).spike_probability
for spread_ms in spreads_ms:
    events = background.clone()
    trial = torch.arange(200).repeat_interleave(60)
    step = 250 + (torch.rand(len(trial)) * spread_ms).long()
    events[trial, step, torch.randint(639, (len(trial),))] = 1.0
    more = surrogate.predict(events).spike_probability - before
    rise.append(more[:, 250:].sum(1).mean().item())  # spikes that the volley adds

axes = plt.figure(figsize=(7, 2.4)).subplots()
axes.semilogx(spreads_ms, rise, "o-")
axes.set(xlabel="spread of 60 spikes (ms)", ylabel="expected spikes\nadded", ylim=(0, None))
plt.show()
