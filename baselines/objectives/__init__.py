"""Pure loss functions of tensors, written once for every world."""
