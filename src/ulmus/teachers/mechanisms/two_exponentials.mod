: A synapse whose conductance is a difference of exponentials that peaks at weight times g (uS): GABA_A, AMPA alone.

NEURON {
    POINT_PROCESS two_exponentials
    NONSPECIFIC_CURRENT i
    GLOBAL g, rise, decay, e
}

UNITS {
    (mV) = (millivolt)
    (uS) = (microsiemens)
}

PARAMETER {
    g = 0.001 (uS)
    rise = 0.2 (ms)
    decay = 8 (ms)
    e = -80 (mV)
}

ASSIGNED {
    jump
}

STATE {
    up (uS)
    down (uS)
}

INITIAL {
    LOCAL peak
    up = 0
    down = 0
    peak = rise*decay/(decay - rise)*log(decay/rise)
    jump = g/(exp(-peak/decay) - exp(-peak/rise))
}

BREAKPOINT {
    SOLVE fall METHOD cnexp
    i = (down - up)*(v - e)
}

DERIVATIVE fall {
    up' = -up/rise
    down' = -down/decay
}

NET_RECEIVE(weight) {
    up = up + weight*jump
    down = down + weight*jump
}
