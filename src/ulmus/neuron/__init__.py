"""The ELM neuron and the fitted neuron with units."""
