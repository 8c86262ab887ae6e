"""A patch of squid axon (Hodgkin and Huxley) as a sphere of 20 um, with synapses or without."""

import arbor
from arbor import units as U

from ulmus.teachers import ArborCell, Synapse


def build():
    """The parts of the cell."""
    tree = arbor.segment_tree()
    tree.append(arbor.mnpos, arbor.mpoint(-10, 0, 0, 10), arbor.mpoint(10, 0, 0, 10), tag=1)
    decor = arbor.decor()
    decor.set_property(Vm=-65 * U.mV)
    decor.paint("(all)", arbor.density("hh"))
    return tree, decor, arbor.label_dict(), arbor.cv_policy_single()


def synapse(sign, decay_ms, reversal_mv, group):
    """A synapse in the middle."""
    kinetics = {"tau1": 0.3, "tau2": decay_ms, "e": reversal_mv}
    return Synapse("(location 0 0.5)", "exp2syn", kinetics, weight=0.0008, sign=sign, group=group)


excitation, inhibition = synapse(1, 3.0, 0.0, "excitation"), synapse(-1, 8.0, -80.0, "inhibition")
cell = ArborCell(build, [excitation] * 16 + [inhibition] * 4, "hodgkin-huxley", "(location 0 0.5)")
