: The hyperpolarisation-activated current of Kole et al. (2006) as in Hay et al. (2011), its activation moved along
: the voltage axis by `shift` (mV); without a shift it is Arbor's bbp::Ih.

NEURON {
    SUFFIX ih_shifted
    NONSPECIFIC_CURRENT i
    RANGE gbar, shift
}

UNITS {
    (mV) = (millivolt)
    (S) = (siemens)
}

PARAMETER {
    gbar = 0.00001 (S/cm2)
    shift = 0 (mV)
    e = -45 (mV)
}

STATE {
    m
}

INITIAL {
    LOCAL a, b, u
    u = v - shift
    a = 0.00643*11.9*exprelr((u + 154.9)/11.9)
    b = 0.193*exp(u/33.1)
    m = a/(a + b)
}

BREAKPOINT {
    SOLVE gate METHOD cnexp
    i = gbar*m*(v - e)
}

DERIVATIVE gate {
    LOCAL a, b, u
    u = v - shift
    a = 0.00643*11.9*exprelr((u + 154.9)/11.9)
    b = 0.193*exp(u/33.1)
    m' = a*(1 - m) - b*m
}
