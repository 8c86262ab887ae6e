"""The layer-5 pyramidal cell of NeuronIO."""
