"""Many rules on the same model, data and seeds, beside their controls."""
