"""From a routine EEG recording to an explained score for epilepsy-like EEG.  Research use only."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
