"""What people look at: figures and TensorBoard."""
