"""Local learning rules for any PyTorch model.

A learning rule is a module whose forward returns the objective to descend::

    rule = Hebbian(model, {"features.0": SoftHebb()}, criterion=F.cross_entropy)
    rule(x, y).backward()      # every parameter's .grad is minus the update that the rule asks for
    optimizer.step()
    scores = rule.predict(x)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
