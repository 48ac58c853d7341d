"""An exported configuration trained again, and what comes of it: a model, its card, its export."""
