: AMPA and NMDA receptors of one synapse, driven by the same spike.
: Each conductance is a difference of exponentials that peaks at weight times its g (uS); NMDA has the magnesium gate
: 1 / (1 + exp(-0.08 v) mg / 3.57) of Jahr and Stevens (1990).

NEURON {
    POINT_PROCESS ampa_nmda
    NONSPECIFIC_CURRENT i
    GLOBAL g_ampa, rise_ampa, decay_ampa, g_nmda, rise_nmda, decay_nmda, e, mg
}

UNITS {
    (mV) = (millivolt)
    (uS) = (microsiemens)
    (mM) = (milli/liter)
}

PARAMETER {
    g_ampa = 0.0004 (uS)
    rise_ampa = 0.3 (ms)
    decay_ampa = 3 (ms)
    g_nmda = 0.0004 (uS)
    rise_nmda = 2 (ms)
    decay_nmda = 70 (ms)
    e = 0 (mV)
    mg = 1 (mM)
}

ASSIGNED {
    jump_ampa
    jump_nmda
}

STATE {
    up_ampa (uS)
    down_ampa (uS)
    up_nmda (uS)
    down_nmda (uS)
}

INITIAL {
    LOCAL peak
    up_ampa = 0
    down_ampa = 0
    up_nmda = 0
    down_nmda = 0
    peak = rise_ampa*decay_ampa/(decay_ampa - rise_ampa)*log(decay_ampa/rise_ampa)
    jump_ampa = g_ampa/(exp(-peak/decay_ampa) - exp(-peak/rise_ampa))
    peak = rise_nmda*decay_nmda/(decay_nmda - rise_nmda)*log(decay_nmda/rise_nmda)
    jump_nmda = g_nmda/(exp(-peak/decay_nmda) - exp(-peak/rise_nmda))
}

BREAKPOINT {
    SOLVE decay METHOD cnexp
    LOCAL gate
    gate = 1/(1 + exp(-0.08*v)*mg/3.57)
    i = (down_ampa - up_ampa + gate*(down_nmda - up_nmda))*(v - e)
}

DERIVATIVE decay {
    up_ampa' = -up_ampa/rise_ampa
    down_ampa' = -down_ampa/decay_ampa
    up_nmda' = -up_nmda/rise_nmda
    down_nmda' = -down_nmda/decay_nmda
}

NET_RECEIVE(weight) {
    up_ampa = up_ampa + weight*jump_ampa
    down_ampa = down_ampa + weight*jump_ampa
    up_nmda = up_nmda + weight*jump_nmda
    down_nmda = down_nmda + weight*jump_nmda
}
