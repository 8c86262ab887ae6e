"""The paper's experiments: many runs from recipes, their scores in tables and figures beside the published ones."""
