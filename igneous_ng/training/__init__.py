"""How models learn from labelled images: samples, targets, augmentation, the network and its export."""
